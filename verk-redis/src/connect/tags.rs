//! Hash tags: of what a cluster makes the slot of a key, and which tags spread cells evenly.

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

/// The slot of all keys that begin with `prefix`; `None` if it has no hash tag.
pub(crate) fn slot_of(prefix: &str) -> Option<u16> {
    hash_tag(prefix).map(|tag| crc16(0, tag.as_bytes()) % SLOTS)
}

/// The part of a key of which a cluster makes the slot: what is between the first brace and the
/// next closing one, if that is not empty.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// The hash tag of a cell: `{cell.n}`, with the smallest `n` for which the slot is the
/// [`middle_of`] its part. `docs/wire-format.md` has the rule.
///
/// It does not depend on how many cells there are. So programs with other numbers of cells meet in
/// the first one, and notice.
pub(crate) fn tag_of_cell(cell: u8) -> String {
    let slot = middle_of(cell);
    let begin = crc16(0, format!("{cell}.").as_bytes());
    let fits = |n: &u32| crc16_of_number(begin, *n) % SLOTS == slot;
    // There is one below 200 000 for each.
    let n = (0..).find(fits).unwrap_or_default();
    format!("{{{cell}.{n}}}")
}

/// The slot in the middle of a cell's part of all slots, which are cut into 256 parts. The order of
/// the parts is that of van der Corput: each cell halves the largest gap that those before it left.
/// So 2, 4, 8, ... cells are spread evenly over any number of primaries, each with one range of
/// slots.
fn middle_of(cell: u8) -> u16 {
    const PART: u16 = SLOTS / 256;
    u16::from(cell.reverse_bits()) * PART + PART / 2
}

/// CRC-16/XMODEM of what gave `crc` so far, and of `bytes`.
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) ^ u16::from(*byte))]
    })
}

/// As [`crc16`], of a number in decimal digits.
fn crc16_of_number(crc: u16, number: u32) -> u16 {
    const DIGITS: &[u8; 10] = b"0123456789";
    let before = match number / 10 {
        0 => crc,
        front => crc16_of_number(crc, front),
    };
    crc16(before, &DIGITS[(number % 10) as usize..][..1])
}

/// The CRC of each byte. With it, the tags of 16 cells take a few milliseconds.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = match crc >> 15 {
                0 => crc << 1,
                _ => (crc << 1) ^ 0x1021,
            };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_the_slot_of_its_hash_tag() {
        // As `CLUSTER KEYSLOT` answers.
        for (prefix, slot) in [
            ("{shop}", 3808),
            ("{shop}:", 3808),
            ("app{shop}x{other}", 3808),
            ("{{shop}", 16281),
            ("{123456789}", 12739),
        ] {
            assert_eq!(slot_of(prefix), Some(slot), "{prefix}");
        }
        for prefix in ["", "shop", "shop{", "}shop{", "{}", "{}{shop}"] {
            assert_eq!(slot_of(prefix), None, "{prefix}");
        }
    }

    /// The table of `docs/wire-format.md`.
    fn documented() -> Vec<(u16, String)> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire-format.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, table) = page.split_once("| cell | slot | tag |").unwrap();
        let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
        let rows = rows.enumerate().map(|(cell, row)| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [number, slot, tag] = cells[..] else {
                panic!("a row with other cells: {row}");
            };
            assert_eq!(number, cell.to_string());
            (slot.parse().unwrap(), tag.trim_matches('`').to_owned())
        });
        rows.collect()
    }

    #[test]
    fn the_tags_of_16_cells_are_documented() {
        let tag = |cell| {
            let tag = tag_of_cell(cell);
            (slot_of(&tag).unwrap(), tag)
        };
        assert_eq!((0..16).map(tag).collect::<Vec<_>>(), documented());
    }

    #[test]
    fn each_cell_has_a_tag_with_its_slot() {
        for cell in 0..=255 {
            assert_eq!(slot_of(&tag_of_cell(cell)), Some(middle_of(cell)), "{cell}");
        }
    }

    #[test]
    fn cells_are_spread_evenly_over_any_number_of_primaries() {
        let slots: Vec<_> = (0..=255).map(middle_of).map(usize::from).collect();
        for (cells, primaries) in (0..=8).flat_map(|bits| (1..=64).map(move |it| (1 << bits, it))) {
            let mut found = vec![0_usize; primaries];
            for slot in &slots[..cells] {
                found[slot * primaries / usize::from(SLOTS)] += 1;
            }
            let expected = cells / primaries..=cells.div_ceil(primaries);
            let even = found.iter().all(|count| expected.contains(count));
            assert!(even, "{cells} cells on {primaries} primaries: {found:?}");
        }
    }
}
