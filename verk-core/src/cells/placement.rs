//! Which cell has what, by its name. Version 1 of the rule, which `docs/wire-format.md` has.

use std::cmp::Reverse;

/// The number of the cell, of `cells`, in which something of this name lies.
///
/// It is a rendezvous hash (Thaler and Ravishankar, 1998): each cell has a weight for the name, and
/// the greatest wins. So when a cell is added at the end, only the names move that go to it.
pub(super) fn place(name: &str, cells: usize) -> usize {
    if cells == 1 {
        return 0;
    }
    let name = fnv1a(name.as_bytes());
    (0..cells)
        .max_by_key(|cell| weight(name, *cell))
        .unwrap_or_default()
}

/// The numbers of the `most` cells, of `cells`, with the greatest weight for a name, the greatest
/// first: the first is that of [`place`].
pub(super) fn places(name: &str, cells: usize, most: usize) -> Vec<usize> {
    let name = fnv1a(name.as_bytes());
    let mut places: Vec<usize> = (0..cells).collect();
    places.sort_by_key(|cell| Reverse((weight(name, *cell), *cell)));
    places.truncate(most);
    places
}

fn weight(name: u64, cell: usize) -> u64 {
    mix(name ^ GOLDEN.wrapping_mul(cell as u64 + 1))
}

/// 2^64 divided by the golden ratio: the multiples of it are spread evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The last steps of SplitMix64 (Steele, Lea and Flood, 2014), which change each bit of the result
/// with half of the bits of the input.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_stays() {
        let places = |cells| ["default", "mailers", "critical", "a", ""].map(|q| place(q, cells));
        assert_eq!(places(1), [0; 5]);
        // As another implementation of the rule has them.
        assert_eq!(places(3), [1, 1, 2, 2, 0]);
        assert_eq!(places(16), [11, 9, 9, 5, 3]);
    }

    #[test]
    fn the_first_of_several_places_is_the_only_one() {
        for number in 0..1_000 {
            let name = format!("queue-{number}");
            let all = places(&name, 16, 16);
            assert_eq!(all[0], place(&name, 16));
            assert_eq!(places(&name, 16, 3), all[..3]);
            let mut sorted = all;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..16));
        }
    }

    #[test]
    fn names_are_spread_evenly() {
        let mut found = [0_usize; 16];
        for number in 0..16_000 {
            found[place(&format!("queue-{number}"), 16)] += 1;
        }
        let outliers = found.iter().filter(|count| !(880..=1120).contains(*count));
        assert_eq!(outliers.count(), 0, "{found:?}");
    }

    #[test]
    fn a_new_cell_takes_only_its_own() {
        let mut moved = 0;
        for number in 0..1_000 {
            let name = format!("queue-{number}");
            let (before, after) = (place(&name, 4), place(&name, 5));
            assert!(before == after || after == 4, "{name}: {before} {after}");
            moved += usize::from(before != after);
        }
        assert!((150..250).contains(&moved), "{moved}");
    }
}
