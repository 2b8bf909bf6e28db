//! Which sources tell the truth: the intersection algorithm (Marzullo; RFC 5905 section 11.2.1).
//!
//! That claims overlap somewhere is not enough: at the edges of wide claims a liar can draw all truthful ones to
//! itself. If nobody's middle is in the place where the most agree, then, as in RFC 5905, the place is taken that
//! the most agree on and that holds the middles of as many.
//!
//! Pure: intervals in, survivors and the interval they share out.

/// One candidate's claim: the truth lies in `low..=high`, most likely at `middle`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Claim {
    /// Lower end, seconds against any common origin.
    pub low: f64,
    /// Best estimate.
    pub middle: f64,
    /// Upper end.
    pub high: f64,
}

impl Claim {
    /// True if the two intervals have a point in common.
    #[must_use]
    pub fn meets(&self, low: f64, high: f64) -> bool {
        self.low <= high && self.high >= low
    }
}

/// What a majority of claims says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Agreement {
    /// Lower end of the place where the most claims agree: who does not reach it is a falseticker.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The truth may lie wherever any majority agrees: the lowest such point.
    pub possible_low: f64,
    /// The highest.
    pub possible_high: f64,
}

/// Where more than half of the claims agree, found with the fewest falsetickers; `None` if
/// there is no majority.
///
/// `scratch` is reused between calls so that selection allocates nothing in steady state.
#[must_use]
pub fn intersect(claims: &[Claim], scratch: &mut Vec<(f64, i8)>) -> Option<Agreement> {
    scratch.clear();
    for claim in claims {
        scratch.push((claim.low, 1));
        scratch.push((claim.high, -1));
    }
    // At equal points lower ends come first: touching intervals agree.
    scratch.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    let majority = claims.len() / 2 + 1;
    let mut best: Option<(usize, f64, f64)> = None;
    let mut possible: Option<(f64, f64)> = None;
    let mut depth = 0_usize;
    for (i, &(point, edge)) in scratch.iter().enumerate() {
        if edge > 0 {
            depth += 1;
            let end = scratch[i + 1..].iter().find(|next| next.1 < 0).map_or(point, |next| next.0);
            match best {
                Some((deepest, ..)) if depth < deepest => {}
                // Two separate places where as many agree: the truth can be at either.
                Some((deepest, low, _)) if depth == deepest => best = Some((depth, low, end)),
                _ => best = Some((depth, point, end)),
            }
            if depth >= majority && possible.is_none() {
                possible = Some((point, point));
            }
        } else {
            if depth >= majority {
                possible = possible.map(|(lowest, _)| (lowest, point));
            }
            depth -= 1;
        }
    }
    let (deepest, mut low, mut high) = best.filter(|&(depth, ..)| depth >= majority)?;
    let (possible_low, possible_high) = possible?;
    let middles_in = |from, to| claims.iter().filter(|c| (from..=to).contains(&c.middle)).count();
    if middles_in(low, high) == 0 {
        let places = (majority..=deepest).rev().filter_map(|agreeing| overlap(scratch, agreeing).map(|place| (agreeing, place)));
        if let Some((_, place)) = places.into_iter().find(|&(agreeing, (from, to))| middles_in(from, to) >= agreeing) {
            (low, high) = place;
        }
    }
    Some(Agreement { low, high, possible_low, possible_high })
}

/// From the first to the last point that at least so many claims share; `edges` are sorted.
fn overlap(edges: &[(f64, i8)], agreeing: usize) -> Option<(f64, f64)> {
    let mut depth = 0_usize;
    let mut found: Option<(f64, f64)> = None;
    for &(point, edge) in edges {
        if edge > 0 {
            depth += 1;
            if depth == agreeing && found.is_none() {
                found = Some((point, point));
            }
        } else {
            if depth == agreeing {
                found = found.map(|(low, _)| (low, point));
            }
            depth -= 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(middle: f64, half: f64) -> Claim {
        Claim { low: middle - half, middle, high: middle + half }
    }

    #[test]
    fn one_source_is_its_own_majority() {
        let alone = Agreement { low: 0.5, high: 1.5, possible_low: 0.5, possible_high: 1.5 };
        assert_eq!(intersect(&[claim(1.0, 0.5)], &mut Vec::new()), Some(alone));
        assert_eq!(intersect(&[], &mut Vec::new()), None);
    }

    #[test]
    fn two_that_disagree_have_no_majority() {
        assert_eq!(intersect(&[claim(0.0, 0.1), claim(1.0, 0.1)], &mut Vec::new()), None);
    }

    #[test]
    fn two_against_two_have_no_majority() {
        let claims = [claim(0.0, 0.1), claim(0.05, 0.1), claim(1.0, 0.1), claim(1.05, 0.1)];
        assert_eq!(intersect(&claims, &mut Vec::new()), None);
    }

    #[test]
    fn the_liar_is_outside() {
        let claims = [claim(0.0, 0.1), claim(0.02, 0.1), claim(0.2, 0.01)];
        let Agreement { low, high, .. } = intersect(&claims, &mut Vec::new()).unwrap();
        assert!((low - -0.08).abs() < 1e-12 && (high - 0.1).abs() < 1e-12);
        assert!(!claims[2].meets(low, high));
    }

    #[test]
    fn a_liar_at_the_edge_draws_nobody_to_itself() {
        // All four share a sliver at 24, where nobody is.
        let claims = [claim(0.0, 25.0), claim(1.0, 24.5), claim(-0.5, 25.0), claim(48.0, 24.0)];
        let Agreement { low, high, .. } = intersect(&claims, &mut Vec::new()).unwrap();
        assert!(low < -20.0 && (high - 24.5).abs() < 1.1, "{low} {high}");
        // A narrow claim within wide ones is where the most agree, wherever their middles are.
        let narrow = [claim(0.0, 0.1), claim(3.0, 10.0), claim(-4.0, 10.0)];
        let Agreement { low, high, .. } = intersect(&narrow, &mut Vec::new()).unwrap();
        assert!((low - -0.1).abs() < 1e-12 && (high - 0.1).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_the_truth_is_inside(
            truthful in proptest::collection::vec((-1.0_f64..1.0, 0.0_f64..0.5), 1..12),
            liars in proptest::collection::vec((-2.0_f64..9.0, 0.0_f64..0.5), 0..12),
            turn in 0_usize..24,
        ) {
            let liars = &liars[..liars.len().min(truthful.len().saturating_sub(1))];
            // Truthful claims all contain 0.
            let mut claims: Vec<Claim> = truthful.iter().map(|&(m, extra)| claim(m, m.abs() + extra)).collect();
            claims.extend(liars.iter().map(|&(m, half)| claim(m, half)));
            let found = intersect(&claims, &mut Vec::new());
            let agreed = found.expect("a truthful majority exists");
            prop_assert!(agreed.possible_low <= 0.0 && agreed.possible_high >= 0.0, "{agreed:?}");
            prop_assert!(agreed.possible_low <= agreed.low && agreed.high <= agreed.possible_high, "{agreed:?}");
            let turn = turn % claims.len();
            claims.rotate_left(turn);
            prop_assert_eq!(intersect(&claims, &mut Vec::new()), found);
        }
    }
}
