//! Finds known names that are similar to a mistyped one.
//!
//! Must not know what the names stand for.

/// Up to `limit` of `known` that are similar to `text`, the most similar first.
pub fn nearest<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
    limit: usize,
) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (similarity(text, name), name))
        .filter(|(score, _)| *score >= 0.5)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(limit);
    scored.into_iter().map(|(_, name)| name).collect()
}

/// The most similar name in `known`, even if the similarity is small. It compares whole names and
/// their last parts, so it also finds a key in the wrong section.
pub(super) fn nearest_key<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    scored(text, known).map(|(_, name)| name)
}

/// The same, but only if the name is similar enough.
pub(super) fn near_key<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    scored(text, known)
        .filter(|(score, _)| *score >= 0.5)
        .map(|(_, name)| name)
}

fn scored<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(f64, &'a str)> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .into_iter()
        .map(|name| {
            let whole = similarity(text, name);
            let part = similarity(&last(text), &last(name)) - 0.05;
            (whole.max(part), whole, name)
        })
        // Of several keys with the same last part, the one whose whole name is more similar.
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(score, _, name)| (score, name))
}

/// From 0 (nothing in common) to 1 (equal), without regard to case. If one text contains the other,
/// they count as similar.
fn similarity(a: &str, b: &str) -> f64 {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let distance = strsim::normalized_damerau_levenshtein(&a, &b);
    if b.contains(&a) || a.contains(&b) {
        distance.max(0.6)
    } else {
        distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_names_come_first() {
        let known = ["STARTED", "PENDING", "IN_PROGRESS", "COMPLETED"];
        assert_eq!(nearest("complete", known, 3), ["COMPLETED"]);
        assert_eq!(nearest("progress", known, 3), ["IN_PROGRESS"]);
        assert!(nearest("xyz", known, 3).is_empty());
    }

    #[test]
    fn a_key_in_the_wrong_section_is_found_by_its_last_part() {
        let known = ["sync.schedule", "sync.overlap", "api.page_size"];
        assert_eq!(nearest_key("schedule", known), Some("sync.schedule"));
        assert_eq!(nearest_key("sync.page_size", known), Some("api.page_size"));
        assert_eq!(nearest_key("sync.shedule", known), Some("sync.schedule"));
        assert_eq!(near_key("sync.shedule", known), Some("sync.schedule"));
        assert_eq!(near_key("sink", known), None);
        let known = ["sync.schedule", "verify.schedule"];
        assert_eq!(nearest_key("schedule", known), Some("sync.schedule"));
        assert_eq!(nearest_key("syncc.schedule", known), Some("sync.schedule"));
        assert_eq!(
            nearest_key("verfy.schedule", known),
            Some("verify.schedule")
        );
    }
}
