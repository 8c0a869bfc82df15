//! What happens in a session: who takes it, when it is answered, when and how it ends.
//!
//! The sessions of the generated year and those that are opened while the account lives are drawn
//! here, so that both have the same distributions.

use super::calendar::{self, HOUR, hour_of};
use super::chance::{self, hit, lognormal, minutes};
use super::company::NOBODY;
use super::ids::{self, IdKind};
use super::names;
use super::record::Category;
use super::slots::{NO_CONTACT, NONE};
use super::ticks::{DAY, SECOND};
use super::year::{Year, nightly_close};
use super::{Ticks, segments};

/// The channel that is answered at night.
const ON_CALL: u16 = 2;
/// How many of a hundred sessions of each channel a bot begins.
const BOTS: [u32; 7] = [72, 48, 55, 34, 30, 85, 0];
/// How many minutes pass on a usual day until a department answers, at the median.
const ANSWERS: [f64; 6] = [1.5, 2.6, 4.2, 4.8, 2.1, 6.4];
/// How much longer it takes on each channel.
const CHANNEL_SLOW: [f64; 7] = [1.0, 0.85, 1.3, 1.7, 2.4, 0.45, 1.9];
/// How many minutes are talked in each department, at the median.
const TALKS: [f64; 6] = [21.0, 15.0, 8.5, 12.0, 27.0, 7.0];
/// How many of a hundred sessions that a bot began for each department end with it.
const CONTAINED: [u32; 6] = [20, 34, 46, 24, 6, 58];
/// How many of a hundred of each department nobody answers on a usual day.
const UNANSWERED: [f64; 6] = [2.4, 3.6, 4.6, 4.2, 1.6, 5.2];

/// What is to happen in a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) channel: u16,
    pub(super) department: u16,
    pub(super) agent: u16,
    pub(super) bot: bool,
    /// Whether the bot alone ends it.
    pub(super) contained: bool,
    pub(super) campaign: Option<u8>,
    /// When it leaves the bot, or whoever greets, and waits for an agent.
    pub(super) queued: i64,
    /// When an agent first answers, or [`NONE`].
    pub(super) answered: i64,
    pub(super) end: i64,
    /// Whether the nightly job ends it.
    pub(super) nightly: bool,
    pub(super) outcome: Option<Category>,
}

impl Plan {
    pub(super) fn draw(
        year: &Year,
        number: u32,
        created: i64,
        contact: u32,
        group: bool,
        dice: &mut fastrand::Rng,
    ) -> Self {
        let segment = segments::of(year.seed, contact);
        // Sales has the longest hours.
        let night = calendar::opening(0, created) != created;
        let mut channel = chance::weighted(dice, names::CHANNELS.iter().map(|(.., share)| *share));
        if night && contact != NO_CONTACT && hit(dice, 0.3) {
            channel = usize::from(ON_CALL);
        }
        let channel = year.channel_of(u16::try_from(channel).unwrap_or(0), contact, group);
        let campaign = campaign(year.seed, IdKind::Session, number, created);
        let ad = campaign.and_then(|campaign| names::CAMPAIGNS.get(usize::from(campaign)));
        // Advertisements bring people who want to buy, and the sales number is for them.
        let sells = ad.is_some_and(|_| hit(dice, 0.72)) || channel == 1 && hit(dice, 0.45);
        let department = if sells {
            0
        } else {
            u16::try_from(chance::weighted(dice, segment.wants.iter().copied())).unwrap_or(0)
        };
        let at = usize::from(department);
        let bot = dice.u32(..100) < BOTS[usize::from(channel)];
        let patient = if night { 14 } else { 0 };
        let contained = bot && !group && dice.u32(..100) < CONTAINED[at] + patient;
        let mut plan = Self {
            channel,
            department,
            agent: NOBODY,
            bot,
            contained,
            campaign,
            queued: created
                + if bot {
                    10 * SECOND + minutes(lognormal(dice, 0.4, 0.6))
                } else {
                    dice.i64(SECOND..6 * SECOND)
                },
            answered: NONE,
            end: 0,
            nightly: false,
            outcome: None,
        };
        if contained {
            plan.department = NOBODY;
            plan.end = created + 25 * SECOND + minutes(lognormal(dice, 1.9, 0.75));
            plan.queued = plan.end;
            return plan;
        }
        plan.wait(year, dice);
        if plan.answered == NONE {
            // Whoever is not answered is closed some hours later, half of them by the nightly job.
            let left = plan.queued + minutes(lognormal(dice, 380.0, 0.9)) + 20 * 60 * SECOND;
            plan.nightly = hit(dice, 0.4);
            plan.end = if plan.nightly {
                nightly_close(left)
            } else {
                left
            };
            return plan;
        }
        plan.talk(year, dice);
        plan.outcome = outcome(department, ad, segment.buys, year, plan.agent, dice);
        plan
    }

    /// Who answers, and when; nobody where it takes too long.
    fn wait(&mut self, year: &Year, dice: &mut fastrand::Rng) {
        let department = self.department;
        let at = usize::from(department);
        let opens = calendar::opening(department, self.queued);
        let awake = (7..24).contains(&hour_of(self.queued));
        let on_call = opens != self.queued
            && awake
            && (self.channel == ON_CALL || hit(dice, [0.42, 0.4, 0.04, 0.1, 0.3, 0.08][at]));
        let pressure = year.load.at(department, opens);
        let load = f64::from(pressure.load).clamp(0.2, 6.0);
        let queue = f64::from(pressure.queue) * 60.0;
        let slow = CHANNEL_SLOW[usize::from(self.channel)];
        let (answered, agent) = if on_call {
            let agent = year.staff.on_call(self.queued, dice);
            (self.queued + minutes(lognormal(dice, 14.0, 1.0)), agent)
        } else {
            let agent = year.staff.choose(department, opens, dice);
            let prompt = year.staff.member(agent).map_or(1.0, |member| member.slow);
            let median = ANSWERS[at] * slow * prompt * (load / 0.8).powf(1.35);
            let own = lognormal(dice, median, 1.1);
            let queue = queue * (0.03 + 0.37 * dice.f64());
            let wait = if opens == self.queued {
                own + queue
            } else {
                // What came in the night is worked off through the morning.
                own + queue + lognormal(dice, 30.0, 0.9)
            };
            (
                opens + minutes(wait) + dice.i64(2 * SECOND..12 * SECOND),
                agent,
            )
        };
        let overtime = calendar::opening(department, answered - HOUR / 2);
        let (answered, agent) = if on_call || overtime <= answered {
            (answered, agent)
        } else {
            let next = overtime + minutes(lognormal(dice, 28.0, 0.9));
            (next, year.staff.choose(department, next, dice))
        };
        let given_up = UNANSWERED[at] / 100.0 * load.clamp(0.6, 4.5) * slow.clamp(0.8, 1.6);
        let waited = chance::float(answered - self.queued) / chance::float(60 * SECOND);
        let open = opens == self.queued;
        let patience = lognormal(dice, if open { 240.0 } else { 4_800.0 }, 1.0);
        if hit(dice, given_up) || waited > patience {
            // Some are taken, and closed without a word.
            self.agent = if hit(dice, 0.15) { agent } else { NOBODY };
            return;
        }
        self.answered = answered;
        self.agent = agent;
    }

    /// When it ends after the answer.
    fn talk(&mut self, year: &Year, dice: &mut fastrand::Rng) {
        let at = usize::from(self.department);
        let talk = year
            .staff
            .member(self.agent)
            .map_or(1.0, |member| member.talk);
        // The bot has asked for name and order already.
        let asked = if self.bot { 0.85 } else { 1.0 };
        let mut length = lognormal(dice, TALKS[at] * talk * asked, 0.85) + 0.6;
        // Some customers go on the next day, and some sessions are reopened.
        if hit(dice, 0.045) {
            length += lognormal(dice, 1_050.0, 0.5);
        }
        if hit(dice, 0.03) {
            length += lognormal(dice, 600.0, 1.0);
        }
        self.end = self.answered + minutes(length);
        self.nightly = hit(dice, 0.012);
        if self.nightly {
            self.end = nightly_close(self.end);
        }
    }
}

/// The campaign that a session or a contact comes from.
pub(super) fn campaign(seed: u64, of: IdKind, number: u32, created: i64) -> Option<u8> {
    let drawn = ids::drawn(seed, of, number, 3);
    if !drawn.is_multiple_of(5) {
        return None;
    }
    let month = calendar::day_number(created) / 100 % 100;
    let running = |campaign: &names::Campaign| {
        let (first, last) = campaign.months;
        if (first..=last).contains(&month) {
            u64::from(campaign.share)
        } else {
            0
        }
    };
    let total: u64 = names::CAMPAIGNS.iter().map(running).sum();
    let mut left = drawn / 5 % total.max(1);
    for (number, campaign) in (0_u8..).zip(&names::CAMPAIGNS) {
        match left.checked_sub(running(campaign)) {
            None => return Some(number),
            Some(rest) => left = rest,
        }
    }
    None
}

/// How a session that was attended ended for the business, if the agent said so.
fn outcome(
    department: u16,
    ad: Option<&names::Campaign>,
    buys: f64,
    year: &Year,
    agent: u16,
    dice: &mut fastrand::Rng,
) -> Option<Category> {
    // Won, lost, answered and other of a hundred; the rest is not classified.
    let (won, lost, info, other): (f64, f64, f64, f64) = match department {
        0 => (25.0, 29.0, 26.0, 3.0),
        1 => (0.0, 0.0, 71.0, 6.0),
        2 => (0.0, 0.0, 74.0, 4.0),
        3 => (4.0, 3.0, 60.0, 5.0),
        4 => (33.0, 31.0, 14.0, 3.0),
        _ => (0.0, 0.0, 66.0, 7.0),
    };
    let agent = year.staff.member(agent).map_or(1.0, |member| member.wins);
    let ad = ad.map_or(1.0, |ad| f64::from(ad.converts) / 100.0);
    // What is won more often is lost less often.
    let odds = won / lost.max(0.1) * agent * ad * if department == 0 { buys } else { 1.0 };
    let decided = won + lost;
    let won = decided * odds / (1.0 + odds);
    let mut left = dice.f64() * 100.0;
    for (share, category) in [
        (won, Category::Won),
        (decided - won, Category::Lost),
        (info, Category::Info),
        (other, Category::Other),
    ] {
        if left < share {
            return Some(category);
        }
        left -= share;
    }
    None
}

/// When a session ends that was reopened, which no plan knows of.
pub(super) fn some_time_after(now: Ticks, dice: &mut fastrand::Rng) -> i64 {
    (now.0 + minutes(lognormal(dice, 18.0, 0.9))).min(now.0 + DAY)
}
