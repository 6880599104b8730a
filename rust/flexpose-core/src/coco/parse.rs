//! JSON to records: the keys of each section, which are required, and what one record alone can tell.

use std::collections::HashSet;
use std::io::Read;

use super::document::{Annotation, Category, Document, Key, NO_LABEL};
use super::error::{CocoError, Section};
use super::json::{Fault, Json, Parsed, Reason};
use super::{Options, LABEL_FIELDS};

/// Most keys at the top level, and the longest in bytes; each is kept, to find a repeated one.
const MAX_TOP_KEYS: usize = 1000;
const MAX_TOP_KEY_BYTES: usize = 256;

/// Parse the whole stream, whose first bytes were taken before.
pub(super) fn document(
    head: Vec<u8>,
    source: impl Read,
    options: &Options<'_>,
) -> Result<Document, CocoError> {
    let mut parser = Parser {
        json: Json::new(head, source, options.leave_out_bad),
        document: Document::new(options.label_field),
        bad: options.leave_out_bad,
    };
    let parsed = parser.top();
    let document = parser.document;
    match parsed {
        Err(fault) => Err(match fault.into_reason() {
            Reason::Io(error) => CocoError::Io(error),
            Reason::Text(message) | Reason::Value(message) => CocoError::at(document.place(), message),
        }),
        Ok(()) => Ok(document),
    }
}

struct Parser<R> {
    json: Json<R>,
    document: Document,
    /// Whether a wrong annotation is left out, and its first fault noted.
    bad: bool,
}

/// Read the value of a key into its slot; a second one under the same key is an error.
macro_rules! fill {
    ($parser:ident, $slot:ident, $read:expr) => {
        if $slot.is_some() {
            Err($parser.repeated())
        } else {
            $read.map(|value| $slot = Some(value))
        }
    };
}

impl<R: Read> Parser<R> {
    fn top(&mut self) -> Parsed<()> {
        let expected = "an object with `images`, `annotations` and `categories`";
        match self.json.value()? {
            b'{' => {}
            b'[' => {
                let hint = "(a list of detection results has no joint names)";
                return Err(self
                    .json
                    .wrong(0, format_args!("expected {expected}, got an array {hint}")));
            }
            _ => return Err(self.json.wrong_type(expected)),
        }
        self.json.open()?;
        let mut seen = HashSet::new();
        loop {
            let document = &mut self.document;
            let key = self.json.key(seen.is_empty(), |key| {
                let key = std::str::from_utf8(key)?;
                document.enter_field(key);
                Ok(key.to_owned())
            })?;
            let Some(key) = key else { break };
            if seen.len() >= MAX_TOP_KEYS || key.len() > MAX_TOP_KEY_BYTES {
                return Err(self.json.wrong(
                    0,
                    format_args!(
                        "there may be {MAX_TOP_KEYS} keys of {MAX_TOP_KEY_BYTES} bytes at the top level"
                    ),
                ));
            }
            let section = match key.as_str() {
                "images" => Some(Section::Images),
                "annotations" => Some(Section::Annotations),
                "categories" => Some(Section::Categories),
                _ => None,
            };
            if !seen.insert(key) {
                return Err(self.json.wrong(0, "the key is repeated at the top level"));
            }
            match section {
                Some(section) => self.records(section)?,
                None => self.json.skip_value()?,
            }
            self.document.enter_section(Section::Top);
        }
        self.json.end()?;
        for section in [Section::Images, Section::Annotations, Section::Categories] {
            if !seen.contains(section.key()) {
                self.document.enter_section(section);
                return Err(Fault::value("missing at the top level".to_owned()));
            }
        }
        Ok(())
    }

    /// The array of a section.
    fn records(&mut self, section: Section) -> Parsed<()> {
        self.document.enter_section(section);
        if self.json.value()? != b'[' {
            return Err(self.json.wrong_type("an array of objects"));
        }
        self.json.open()?;
        for record in 0.. {
            self.document.enter_record(record);
            if !self.json.element(record == 0)? {
                break;
            }
            let read = if self.json.value()? == b'{' {
                self.json.open()?;
                match section {
                    Section::Images => self.image(),
                    Section::Annotations => self.annotation(record),
                    _ => self.category(),
                }
            } else {
                Err(self.json.wrong_type("an object"))
            };
            if let Err(fault) = read {
                self.leave_out(fault)?;
            }
        }
        Ok(())
    }

    /// Note the fault of the current record if the record may be left out.
    #[cold]
    fn leave_out(&mut self, fault: Fault) -> Parsed<()> {
        let place = self.document.place();
        match (fault.into_reason(), place.record) {
            (Reason::Value(reason), Some(record)) if self.bad && place.section == Section::Annotations => {
                self.document.bad.add(record, place.field_name(), reason);
                Ok(())
            }
            (other, _) => Err(other.into()),
        }
    }

    #[cold]
    fn repeated(&mut self) -> Fault {
        let fault = self.json.wrong(0, "the key is repeated in the record");
        if self.bad {
            if let Err(other) = self.json.skip_value() {
                return other;
            }
        }
        fault
    }

    /// The value of a required key.
    fn require<T>(&mut self, slot: Option<T>, key: Key) -> Parsed<T> {
        slot.ok_or_else(|| {
            self.document.key = key;
            self.json.wrong(0, "missing")
        })
    }

    #[cold]
    fn not_unique(&mut self, id: i64) -> Fault {
        self.document.key = Key::Id;
        self.json
            .wrong(0, format_args!("ids must be unique, {id} came before"))
    }

    /// Go to the value of the next key of the record; false behind the last.
    #[inline]
    fn next_key(&mut self, first: bool) -> Parsed<bool> {
        self.document.key = Key::None;
        let document = &mut self.document;
        Ok(self.json.key(first, |key| document.enter(key))?.is_some())
    }

    fn image(&mut self) -> Parsed<()> {
        let (mut id, mut width, mut height) = (None, None, None);
        let mut first = true;
        while self.next_key(first)? {
            first = false;
            match self.document.key {
                Key::Id => fill!(self, id, self.json.integer()),
                Key::Width => fill!(self, width, self.json.side()),
                Key::Height => fill!(self, height, self.json.side()),
                _ => self.json.skip_value(),
            }?;
        }
        let id = self.require(id, Key::Id)?;
        let size = match (width, height) {
            (None, None) => (0, 0),
            (width, height) => (
                self.require(width, Key::Width)?,
                self.require(height, Key::Height)?,
            ),
        };
        if !self.document.image_ids.add(id) {
            return Err(self.not_unique(id));
        }
        self.document.images.push(size);
        Ok(())
    }

    fn category(&mut self) -> Parsed<()> {
        let (mut id, mut name, mut keypoints, mut bones) = (None, None, None, None);
        let mut first = true;
        while self.next_key(first)? {
            first = false;
            match self.document.key {
                Key::Id => fill!(self, id, self.json.integer()),
                Key::Name => fill!(self, name, self.json.name()),
                Key::Keypoints => fill!(self, keypoints, self.json.names()),
                Key::Skeleton => fill!(self, bones, self.json.bones()),
                _ => self.json.skip_value(),
            }?;
        }
        let id = self.require(id, Key::Id)?;
        if !self.document.category_ids.add(id) {
            return Err(self.not_unique(id));
        }
        self.document.categories.push(Category {
            id,
            name,
            keypoints: keypoints.filter(|names| !names.is_empty()),
            bones: bones.unwrap_or_default(),
        });
        Ok(())
    }

    fn annotation(&mut self, record: usize) -> Parsed<()> {
        let start = self.document.visibility.len();
        let read = self.annotation_from(record, start);
        if !matches!(read, Ok(true)) {
            self.document.visibility.truncate(start);
            self.document.coordinates.truncate(2 * start);
        }
        read.map(drop)
    }

    /// One annotation, its keypoints behind the first `start`; whether it becomes a pose.
    fn annotation_from(&mut self, record: usize, start: usize) -> Parsed<bool> {
        let (mut id, mut image_id, mut category_id) = (None, None, None);
        let (mut points, mut num_keypoints, mut crowd, mut bbox) = (None, None, None, None);
        let (mut labels, mut labelled) = ([NO_LABEL; LABEL_FIELDS.len()], [false; LABEL_FIELDS.len()]);
        let mut wrong = None;
        let mut first = true;
        while self.next_key(first)? {
            first = false;
            let read = match self.document.key {
                Key::Id => fill!(self, id, self.json.integer()),
                Key::ImageId => fill!(self, image_id, self.json.integer()),
                Key::CategoryId => fill!(self, category_id, self.json.integer()),
                Key::Keypoints => fill!(self, points, {
                    let Document {
                        coordinates,
                        visibility,
                        ..
                    } = &mut self.document;
                    self.json.keypoints(coordinates, visibility)
                }),
                Key::NumKeypoints => fill!(self, num_keypoints, self.json.count()),
                Key::IsCrowd => fill!(self, crowd, self.json.flag()),
                Key::Bbox => fill!(self, bbox, self.json.bbox()),
                Key::Label(index) if labelled[index] => Err(self.repeated()),
                Key::Label(index) => {
                    labelled[index] = true;
                    self.label().map(|label| labels[index] = label)
                }
                _ => self.json.skip_value(),
            };
            match read {
                Err(fault) if self.bad && fault.is_value() => {
                    wrong = wrong.or(Some((fault, self.document.place().field)));
                }
                other => other?,
            }
        }
        if let Some((fault, field)) = wrong {
            self.document.enter_field(&field);
            return Err(fault);
        }
        let id = self.require(id, Key::Id)?;
        let seen = &self.document.visibility[start..];
        let annotation = Annotation {
            record,
            labelled: seen.iter().filter(|&&visibility| visibility > 0).count(),
            id,
            image_id: self.require(image_id, Key::ImageId)?,
            category_id: self.require(category_id, Key::CategoryId)?,
            points,
            num_keypoints,
            crowd: crowd.unwrap_or(false),
            labels,
            bad: false,
        };
        if !self.document.annotation_ids.add(id) {
            return Err(self.not_unique(id));
        }
        let kept = annotation.kept();
        self.document.annotations.push(annotation);
        Ok(kept)
    }

    fn label(&mut self) -> Parsed<u32> {
        let document = &mut self.document;
        let label = self
            .json
            .label(document.strict_label, |label| document.labels.code(label))?;
        Ok(label.unwrap_or(NO_LABEL))
    }
}
