//! Moods with more than two values.

/// The totals in an answer of a paged list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Totals {
    /// The true total.
    #[default]
    Right,
    /// A capped total: at most this, also in all fields computed from it.
    Capped(u32),
    /// A total that is too small by this number, also in all fields computed from it.
    Short(u32),
    /// Only `totalItems` is capped at this.
    ItemsCapped(u32),
    /// Only `totalPages` and `hasMorePages` are capped, as for this number of records.
    PagesCapped(u32),
    /// Only `hasMorePages` is wrong: it is always false.
    NoMore,
    /// `totalItems` and `totalPages` are left out.
    Uncounted,
    /// `hasMorePages` is left out, too.
    Absent,
}

/// The fields of an envelope with totals; `None` leaves a field out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EnvelopeCounts {
    pub(super) items: Option<usize>,
    pub(super) pages: Option<usize>,
    pub(super) more: Option<bool>,
}

impl Totals {
    /// The totals in a page, given its number and the number of records.
    pub(super) fn tell(self, total: usize, size: usize, number: usize) -> EnvelopeCounts {
        let of = |items: usize, counted: usize| {
            let pages = counted.div_ceil(size);
            EnvelopeCounts {
                items: Some(items),
                pages: Some(pages),
                more: Some(number < pages),
            }
        };
        let capped = |cap: u32| total.min(cap as usize);
        let right = of(total, total);
        match self {
            Self::Right => right,
            Self::Capped(cap) => of(capped(cap), capped(cap)),
            Self::Short(by) => {
                let total = total.saturating_sub(by as usize);
                of(total, total)
            }
            Self::ItemsCapped(cap) => of(capped(cap), total),
            Self::PagesCapped(cap) => of(total, capped(cap)),
            Self::NoMore => EnvelopeCounts {
                more: Some(false),
                ..right
            },
            Self::Uncounted => EnvelopeCounts {
                items: None,
                pages: None,
                ..right
            },
            Self::Absent => EnvelopeCounts {
                items: None,
                pages: None,
                more: None,
            },
        }
    }
}

/// The answer to a request for one record by id. Lists show the record as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdFault {
    /// 500 with the platform's own error body.
    Internal,
    /// 403 with a gateway's HTML page.
    Gateway,
    /// 403 with the platform's own error body.
    Forbidden,
    /// 401 with the platform's own error body.
    Unauthorized,
}

impl IdFault {
    /// All variants, from which `failing_share` draws.
    pub const ALL: [Self; 4] = [
        Self::Internal,
        Self::Gateway,
        Self::Forbidden,
        Self::Unauthorized,
    ];
}

/// A list without pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// `/core/v1/tag`
    Tags,
    /// `/chat/v1/channel`
    Channels,
    /// `/core/v2/department`
    Departments,
    /// `/core/v1/agent`
    Agents,
    /// `/core/v1/custom-field`
    CustomFields,
    /// `/chat/v1/template`
    Templates,
    /// `/core/v1/portfolio`
    Portfolios,
    /// `/core/v1/company/officehours`
    OfficeHours,
}
