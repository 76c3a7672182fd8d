//! Compares the jobs that the storage says this node holds with the jobs that it works on.

use std::collections::HashMap;

use bytes::Bytes;

/// The differences between two multisets of payloads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Differences {
    /// In the `inprogress` list, but this node does not work on them, because a reply was lost. In
    /// the order of the list.
    pub(crate) strays: Vec<Bytes>,
    /// The positions in `held` of the payloads that are no longer in the list.
    pub(crate) lost: Vec<usize>,
}

/// Compares the `inprogress` list with what is `held` here.
///
/// Equal payloads are counted. If the list has fewer of them than `held`, the first ones in `held`
/// are the lost ones. So `held` must begin with those that are the most likely to be gone.
pub(crate) fn compare(list: Vec<Bytes>, held: &[Bytes]) -> Differences {
    let mut count: HashMap<&Bytes, usize> = HashMap::new();
    for payload in &list {
        *count.entry(payload).or_default() += 1;
    }
    let mut lost = Vec::new();
    for (position, payload) in held.iter().enumerate().rev() {
        match count.get_mut(payload) {
            Some(left) if *left > 0 => *left -= 1,
            _ => lost.push(position),
        }
    }
    lost.reverse();
    let mut left: HashMap<Bytes, usize> = count
        .into_iter()
        .map(|(payload, n)| (payload.clone(), n))
        .collect();
    let strays = list
        .into_iter()
        .filter(|payload| match left.get_mut(payload) {
            Some(n) if *n > 0 => {
                *n -= 1;
                true
            }
            _ => false,
        })
        .collect();
    Differences { strays, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(names: &[&'static str]) -> Vec<Bytes> {
        names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect()
    }

    #[test]
    fn equal_sides_have_no_differences() {
        let differences = compare(payloads(&["a", "b", "a"]), &payloads(&["a", "a", "b"]));
        assert_eq!(
            differences,
            Differences {
                strays: vec![],
                lost: vec![]
            }
        );
    }

    #[test]
    fn payloads_are_counted() {
        let differences = compare(payloads(&["a", "a", "b"]), &payloads(&["a"]));
        assert_eq!(
            differences,
            Differences {
                strays: payloads(&["a", "b"]),
                lost: vec![]
            }
        );
    }

    #[test]
    fn the_first_of_equal_payloads_is_the_lost_one() {
        let differences = compare(payloads(&["a"]), &payloads(&["a", "b", "a"]));
        assert_eq!(
            differences,
            Differences {
                strays: vec![],
                lost: vec![0, 1]
            }
        );
    }
}
