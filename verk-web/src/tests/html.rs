//! A strict reader of HTML. It accepts what the templates write: known elements and attributes,
//! quoted values, and an end for each element. So a text that becomes markup is an error.

use std::iter;

const ELEMENTS: &[&str] = &[
    "a", "b", "bdi", "body", "br", "button", "caption", "code", "dd", "details", "div", "dl", "dt",
    "em", "form", "h1", "h2", "h3", "head", "header", "html", "i", "input", "label", "li", "line",
    "link", "main", "meta", "nav", "ol", "option", "p", "path", "polyline", "pre", "progress",
    "rect", "script", "section", "select", "small", "span", "strong", "summary", "svg", "table",
    "tbody", "td", "th", "thead", "time", "title", "tr", "ul",
];

/// Without an end.
const VOID: &[&str] = &["br", "input", "link", "meta"];

const ATTRIBUTES: &[&str] = &[
    "action",
    "autocomplete",
    "charset",
    "checked",
    "class",
    "content",
    "d",
    "datetime",
    "defer",
    "disabled",
    "for",
    "formaction",
    "height",
    "hidden",
    "href",
    "http-equiv",
    "id",
    "lang",
    "max",
    "maxlength",
    "method",
    "name",
    "placeholder",
    "points",
    "preserveAspectRatio",
    "rel",
    "required",
    "role",
    "rx",
    "scope",
    "selected",
    "spellcheck",
    "src",
    "step",
    "stroke-width",
    "tabindex",
    "title",
    "type",
    "value",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// What keeps a text that is written from right to left from changing the order of its neighbours:
/// `bdi`, and what is a block with this text alone.
const ISOLATED: &[&str] = &["bdi", "h1", "option", "pre", "title"];

/// Writes the following text from right to left.
const OVERRIDE: char = '\u{202e}';

/// An element of a page.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    /// The element around it.
    parent: Option<usize>,
    /// The text in it, without that of other elements in it.
    pub(crate) text: String,
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(attribute, _)| attribute == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The elements of a page, each after the one around it.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Vec<Element>);

impl Document {
    /// Reads a page; an error says what is wrong, and where.
    pub(crate) fn read(html: &str) -> Result<Self, String> {
        let mut reader = Reader {
            left: html,
            open: Vec::new(),
            elements: Vec::new(),
        };
        let read = reader.document();
        read.map_err(|problem| {
            let near: String = reader.left.chars().take(80).collect();
            format!("{problem} before {near:?}")
        })?;
        Ok(Self(reader.elements))
    }

    /// All elements of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.0.iter().filter(move |element| element.name == name)
    }

    /// The elements around one, the nearest first.
    pub(crate) fn around(&self, at: usize) -> impl Iterator<Item = &Element> {
        let parent = |at: usize| self.0[at].parent;
        iter::successors(parent(at), move |at| parent(*at)).map(|at| &self.0[at])
    }

    /// The elements inside of one, in their order.
    pub(crate) fn inside(&self, at: usize) -> impl Iterator<Item = &Element> {
        // An element is after the one around it, and before all that are after that one.
        let after = self.0[at + 1..].iter();
        after.take_while(move |element| element.parent.is_some_and(|parent| parent >= at))
    }

    /// The texts in an element and in those inside.
    pub(crate) fn texts(&self, at: usize) -> impl Iterator<Item = &str> {
        let own = iter::once(&self.0[at]);
        own.chain(self.inside(at)).map(|element| &*element.text)
    }

    /// The addresses of all links and forms.
    pub(crate) fn links(&self) -> impl Iterator<Item = &str> {
        let names = ["href", "action", "formaction", "src", "data-live-url"];
        let elements = self.0.iter();
        elements.flat_map(move |element| names.into_iter().filter_map(|name| element.get(name)))
    }
}

struct Reader<'a> {
    left: &'a str,
    /// The elements that have not ended, by their places.
    open: Vec<usize>,
    elements: Vec<Element>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<(), String> {
        self.take("<!doctype html>")?;
        while !self.left.is_empty() {
            if self.left.starts_with("</") {
                self.end()?;
            } else if self.left.starts_with('<') {
                self.start()?;
            } else {
                self.text()?;
            }
        }
        if self.open.is_empty() {
            Ok(())
        } else {
            Err("elements without an end".to_owned())
        }
    }

    fn take(&mut self, text: &str) -> Result<(), String> {
        let left = self.left.strip_prefix(text);
        self.left = left.ok_or_else(|| format!("no {text:?}"))?;
        Ok(())
    }

    fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'a str {
        let end = self.left.find(is_end).unwrap_or(self.left.len());
        let (text, left) = self.left.split_at(end);
        self.left = left;
        text
    }

    fn end(&mut self) -> Result<(), String> {
        self.take("</")?;
        let name = self.until(|c| c == '>');
        let open = self.open.pop().and_then(|at| self.elements.get(at));
        if open.is_none_or(|open| open.name != name) {
            return Err(format!("an end of {name} in {open:?}"));
        }
        self.take(">")
    }

    fn start(&mut self) -> Result<(), String> {
        self.take("<")?;
        let name = self.until(|c| !c.is_ascii_alphanumeric());
        if !ELEMENTS.contains(&name) {
            return Err(format!("an element {name:?}"));
        }
        let mut attributes: Vec<(String, String)> = Vec::new();
        while self.left.starts_with([' ', '\n']) {
            self.until(|c| c != ' ' && c != '\n');
            if self.left.starts_with(['/', '>']) {
                break;
            }
            let name = self.until(|c| !c.is_ascii_alphanumeric() && c != '-');
            let known = ATTRIBUTES.contains(&name)
                || name.starts_with("aria-")
                || name.starts_with("data-");
            if !known || attributes.iter().any(|(before, _)| before == name) {
                return Err(format!("an attribute {name:?}"));
            }
            let mut value = String::new();
            if self.left.starts_with('=') {
                self.take("=\"")?;
                value = unescaped(self.until(|c| c == '"'))?;
                self.take("\"")?;
            }
            attributes.push((name.to_owned(), value));
        }
        let has_end = !VOID.contains(&name) && !self.left.starts_with('/');
        self.until(|c| c != '/');
        self.take(">")?;
        let at = self.elements.len();
        self.elements.push(Element {
            name: name.to_owned(),
            attributes,
            parent: self.open.last().copied(),
            text: String::new(),
        });
        if has_end {
            self.open.push(at);
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), String> {
        let text = unescaped(self.until(|c| c == '<'))?;
        let open = self.open.last().copied();
        let Some(element) = open.and_then(|at| self.elements.get_mut(at)) else {
            return match text.trim() {
                "" => Ok(()),
                _ => Err("text outside of all elements".to_owned()),
            };
        };
        if text.contains(OVERRIDE) && !ISOLATED.contains(&&*element.name) {
            return Err(format!("{text:?} is not isolated in {}", element.name));
        }
        element.text += &text;
        Ok(())
    }
}

/// The text of a page as it was before it was escaped. A bare `&` or `>` is an error: it was not
/// escaped.
fn unescaped(text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number = part.strip_prefix('#').and_then(|part| part.split_once(';'));
        let (number, after) = number.ok_or_else(|| format!("a bare & before {part:?}"))?;
        let char = number.parse().ok().and_then(char::from_u32);
        all.push(char.ok_or_else(|| format!("a reference {number:?}"))?);
        all += after;
    }
    if text.contains(['<', '>']) {
        return Err(format!("a bare sign in {text:?}"));
    }
    Ok(all)
}

/// The path as a browser asks for it, without the parts `.` and `..`.
pub(crate) fn as_a_browser_asks(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("{}{query}", parts.join("/"))
}

#[test]
fn markup_that_no_template_writes_is_found() {
    let page = |body: &str| Document::read(&format!("<!doctype html><p title=\"x\">{body}</p>"));
    for body in ["a&#60;b", "<b>a</b><br>", "<svg><path d=\"M0\"/></svg>"] {
        assert!(page(body).is_ok(), "{body}");
    }
    for body in [
        "<script2>",
        "<b onclick=\"x\"></b>",
        "<b>",
        "</b>",
        "a > b",
        "a & b",
        "<b title=x></b>",
        "<a\u{202e}>",
        "\u{202e}",
    ] {
        assert!(page(body).is_err(), "{body}");
    }
}
