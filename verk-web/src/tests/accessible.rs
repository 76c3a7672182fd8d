//! What a person needs who does not see the page, or has no mouse: [`check`].

use std::collections::HashSet;

use super::html::{Document, Element};

/// Checks a page; an error says what is missing, and where.
pub(crate) fn check(page: &Document) -> Result<(), String> {
    let ids = ids(page)?;
    landmarks(page, &ids)?;
    headings(page)?;
    for (at, element) in page.0.iter().enumerate() {
        names(page, at, element).map_err(|problem| format!("{problem}: {element:?}"))?;
        references(element, &ids).map_err(|problem| format!("{problem}: {element:?}"))?;
    }
    Ok(())
}

fn require(holds: bool, problem: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| problem.to_owned())
}

fn ids(page: &Document) -> Result<HashSet<&str>, String> {
    let mut ids = HashSet::new();
    for id in page.0.iter().filter_map(|element| element.get("id")) {
        require(ids.insert(id), &format!("two elements have the id {id:?}"))?;
    }
    Ok(ids)
}

/// The language, one main part, and a way to it past the navigation.
fn landmarks(page: &Document, ids: &HashSet<&str>) -> Result<(), String> {
    let language = page.all("html").filter_map(|html| html.get("lang"));
    require(language.eq(["en"]), "no language")?;
    let in_head = |at| {
        page.around(at)
            .next()
            .is_some_and(|around| around.name == "head")
    };
    let titles = page.0.iter().enumerate();
    let titles = titles.filter(|(at, element)| element.name == "title" && in_head(*at));
    let has_one = titles.map(|(_, title)| !title.text.trim().is_empty());
    require(has_one.eq([true]), "no title")?;
    let main = page.all("main").filter_map(|main| main.get("id"));
    require(main.eq(["main"]) && ids.contains("main"), "no main part")?;
    let navigation = page
        .all("nav")
        .filter(|nav| nav.get("aria-label").is_some());
    require(navigation.count() == 1, "no navigation")?;
    let first = page.all("a").next().and_then(|link| link.get("href"));
    require(
        first == Some("#main"),
        "the first link does not skip to the main part",
    )
}

/// One heading of the page, and no level left out below it.
fn headings(page: &Document) -> Result<(), String> {
    let levels = page.0.iter().filter_map(|element| match &*element.name {
        "h1" => Some(1),
        "h2" => Some(2),
        "h3" => Some(3),
        _ => None,
    });
    let levels: Vec<u8> = levels.collect();
    let tops = levels.iter().filter(|level| **level == 1).count();
    require(
        tops == 1 && levels.first() == Some(&1),
        "no single h1 before all others",
    )?;
    let skipped = levels.windows(2).any(|pair| pair[1] > pair[0] + 1);
    require(!skipped, &format!("a level is left out: {levels:?}"))
}

/// What each element is called, and what it says by itself.
fn names(page: &Document, at: usize, element: &Element) -> Result<(), String> {
    let has = |name| {
        element
            .get(name)
            .is_some_and(|value| !value.trim().is_empty())
    };
    let is_labelled = has("aria-label") || has("aria-labelledby");
    let has_text = || page.texts(at).any(|text| !text.trim().is_empty());
    let within = |test: &dyn Fn(&Element) -> bool| page.around(at).any(test);
    match &*element.name {
        "a" | "button" | "summary" | "label" | "th" | "option"
            if element.get("hidden").is_none() =>
        {
            // The box that selects all rows has its own name.
            let inside = page
                .inside(at)
                .any(|inner| inner.get("aria-label").is_some());
            require(is_labelled || has_text() || inside, "no name")?;
        }
        "input" | "select" | "progress" if element.get("type") != Some("hidden") => {
            let labels = page.all("label").filter_map(|label| label.get("for"));
            let id = element.get("id");
            let is_named = labels.into_iter().any(|label| Some(label) == id);
            let in_label = within(&|around| around.name == "label");
            require(is_labelled || is_named || in_label, "no label")?;
        }
        "svg" => {
            let is_hidden = element.get("aria-hidden") == Some("true");
            let is_image = element.get("role") == Some("img") && is_labelled;
            require(
                is_hidden || is_image,
                "neither hidden nor an image with a name",
            )?;
        }
        "section" => require(is_labelled, "a section without a name")?,
        "table" => {
            let first = page.inside(at).next();
            let is_caption =
                first.is_some_and(|first| first.name == "caption" && !first.text.trim().is_empty());
            let has_one = page.inside(at).any(|inner| inner.name == "caption");
            require(is_caption && has_one, "a table without a caption")?;
        }
        _ => {}
    }
    if element.name == "th" {
        require(
            matches!(element.get("scope"), Some("col" | "row")),
            "no scope",
        )?;
    }
    // Figures change every second: nobody wants to hear each.
    let speaks = |element: &Element| {
        element.get("aria-live").is_some()
            || matches!(element.get("role"), Some("status" | "alert"))
    };
    require(
        !matches!(element.get("aria-live"), Some(live) if live != "polite"),
        "it interrupts",
    )?;
    let changes = has("data-live") || has("data-live-points");
    require(
        !changes || !(speaks(element) || within(&speaks)),
        "a figure that is read aloud",
    )
}

/// What an element refers to is on the page.
fn references(element: &Element, ids: &HashSet<&str>) -> Result<(), String> {
    for name in [
        "for",
        "aria-labelledby",
        "aria-describedby",
        "aria-controls",
    ] {
        for id in element.get(name).unwrap_or_default().split_whitespace() {
            require(ids.contains(id), &format!("{name} of nothing"))?;
        }
    }
    Ok(())
}

#[test]
fn what_is_missing_is_found() {
    let page = |body: &str| {
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><title>x</title></head><body>\
            <a href=\"#main\">Skip</a><nav aria-label=\"Pages\"></nav>\
            <main id=\"main\"><h1>x</h1>{body}</main></body></html>"
        );
        check(&Document::read(&html).unwrap())
    };
    for good in [
        "<label for=\"a\">A</label><input id=\"a\"><label><input type=\"checkbox\"> B</label>",
        "<table><caption>A</caption><thead><tr><th scope=\"col\">B</th></tr></thead></table>",
        "<h2>A</h2><h3>B</h3><h2>C</h2>",
        "<a href=\"/\"><bdi>A</bdi></a><svg aria-hidden=\"true\"></svg>",
    ] {
        assert_eq!(page(good), Ok(()), "{good}");
    }
    for bad in [
        "<input name=\"a\">",
        "<label for=\"a\">A</label>",
        "<select id=\"a\"><option>A</option></select>",
        "<button></button>",
        "<a href=\"/\"><svg aria-hidden=\"true\"></svg></a>",
        "<svg></svg>",
        "<table><thead><tr><th scope=\"col\">B</th></tr></thead></table>",
        "<table><caption>A</caption><thead><tr><th>B</th></tr></thead></table>",
        "<h3>A</h3>",
        "<h1>A</h1>",
        "<main id=\"other\"></main>",
        "<section></section>",
        "<progress></progress>",
        "<p id=\"main\"></p>",
        "<p role=\"status\"><b data-live=\"rate\">1</b></p>",
        "<p aria-live=\"assertive\"></p>",
    ] {
        assert!(page(bad).is_err(), "{bad}");
    }
}
