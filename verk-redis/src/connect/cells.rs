//! The cells that a configuration describes: [`each`].

use crate::{
    config::RedisConfig,
    connect::{cluster, tags},
    error::{Error, cut},
};

/// The most cells of one cluster.
const MOST: usize = 256;

/// The configuration of each cell, in their order. Without several cells it is the given one.
pub(crate) fn each(config: RedisConfig) -> Result<Vec<RedisConfig>, Error> {
    let url = cluster::parse(&config.url);
    let is_cluster = url.is_some();
    // What is wrong with the URL is reported where it is used.
    let of_url = match url {
        Some(url) => url.ok().and_then(|url| url.cells),
        None => in_query(&config.url),
    };
    let Some(cells) = of_url.or(config.cells) else {
        return Ok(vec![config]);
    };
    let invalid = |reason| Err(Error::InvalidCells { cells, reason });
    if !is_cluster {
        return invalid(
            "only a cluster has cells at one URL: use redis+cluster://host1:7000,host2:7000, or give the builder several servers by redis_cells",
        );
    }
    if config.cells.is_some_and(|other| other != cells) {
        return invalid("the URL and the setting have different numbers, so leave out one of them");
    }
    if !(1..=MOST).contains(&cells) {
        return invalid("a cluster has 1 to 256 cells");
    }
    if cells == 1 {
        return Ok(vec![config.cells(None)]);
    }
    let prefix = config.prefix.as_deref().unwrap_or_default();
    // The first brace would begin the hash tag.
    if prefix.contains('{') {
        return Err(Error::TagWithCells {
            cells,
            prefix: cut(prefix),
        });
    }
    let prefix = match prefix.strip_suffix(':').unwrap_or(prefix) {
        "" => String::new(),
        prefix => format!("{prefix}:"),
    };
    let cell = |cell| {
        let tag = tags::tag_of_cell(cell);
        config.clone().cells(None).prefix(format!("{prefix}{tag}"))
    };
    Ok((0..=u8::MAX).take(cells).map(cell).collect())
}

/// The number in the query of a URL that is none of a cluster: other URLs may have other parts
/// there, and the client library passes over what it does not know.
fn in_query(url: &str) -> Option<usize> {
    let (_, query) = url.split_once('?')?;
    let cells = query
        .split('&')
        .find_map(|part| part.strip_prefix("cells="))?;
    cells.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "redis+cluster://host";

    fn prefixes(config: RedisConfig) -> Vec<String> {
        let each = each(config).unwrap().into_iter();
        each.map(|config| config.prefix.unwrap_or_default())
            .collect()
    }

    #[test]
    fn each_cell_has_a_tag_after_the_prefix() {
        let three = RedisConfig::new(format!("{URL}/?cells=3"));
        let tags = ["{0.18298}", "{1.19937}", "{2.1796}"];
        assert_eq!(prefixes(three.clone()), tags);
        assert_eq!(prefixes(RedisConfig::new(URL).cells(3)), tags);
        assert_eq!(prefixes(three.clone().cells(3)), tags);
        for prefix in ["shop", "shop:", "shop}"] {
            let prefixed = prefixes(three.clone().prefix(prefix.to_owned()));
            let expected = tags.map(|tag| format!("{}:{tag}", prefix.trim_end_matches(':')));
            assert_eq!(prefixed, expected);
            let slot = |prefix: &String| tags::slot_of(prefix).unwrap();
            let slots: Vec<_> = prefixed.iter().map(slot).collect();
            assert_eq!(slots, [32, 8224, 4128]);
        }
        assert_eq!(prefixes(RedisConfig::new(URL).cells(256)).len(), 256);
    }

    #[test]
    fn one_storage_is_as_it_was() {
        let tag = || RedisConfig::new(URL).prefix("{shop}".to_owned());
        for config in [
            tag(),
            RedisConfig::new("redis://host"),
            RedisConfig::new(""),
        ] {
            assert_eq!(each(config.clone()).unwrap(), [config]);
        }
        assert_eq!(each(tag().cells(1)).unwrap(), [tag()]);
        let of_url = RedisConfig::new(format!("{URL}/?cells=1"));
        assert_eq!(each(of_url.clone()).unwrap(), [of_url]);
    }

    #[test]
    fn cells_that_cannot_be_are_refused() {
        let with = |url: &str, cells| RedisConfig::new(url).cells(cells);
        for (config, expected) in [
            (
                with(URL, 0),
                "redis.cells is 0: a cluster has 1 to 256 cells",
            ),
            (with(URL, 257), "redis.cells is 257: "),
            (
                RedisConfig::new(format!("{URL}?cells=1000")),
                "redis.cells is 1000: ",
            ),
            (
                with(&format!("{URL}?cells=8"), 16),
                "redis.cells is 8: the URL and the setting",
            ),
            (with("redis://host", 2), "redis.cells is 2: only a cluster"),
            (
                RedisConfig::new("redis://host/0?protocol=resp3&cells=4"),
                "redis.cells is 4: only a cluster",
            ),
            (
                with("redis+sentinel://host/main", 2),
                "redis.cells is 2: only a cluster",
            ),
            (
                with(URL, 2).prefix("{shop}".to_owned()),
                "each of the 2 cells gets a hash tag",
            ),
            (
                with(URL, 2).prefix("a{b".to_owned()),
                "each of the 2 cells gets a hash tag",
            ),
        ] {
            let error = each(config).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
