//! Records to poses: what only several records together can tell.

use super::document::{Annotation, Category, Document, NO_LABEL};
use super::error::{shorten, CocoError, Place, Section};
use super::ids::Ids;
use super::{CocoPoses, Labels, Options, ReadCounts, LABEL_FIELDS};

/// Check ids across the sections and the number of keypoints, choose the skeleton and the labels.
pub(super) fn assemble(mut document: Document, options: &Options<'_>) -> Result<CocoPoses, CocoError> {
    let mut annotations = std::mem::take(&mut document.annotations);
    let mut counts = ReadCounts {
        annotations: annotations.len() + document.bad.count,
        images: document.images.len(),
        ..ReadCounts::default()
    };
    let mut used = vec![false; document.categories.len()];
    let mut unnamed = None;
    let (mut image_size, mut ids) = (Vec::new(), Vec::new());
    let (mut from, mut to) = (0, 0); // joints of the poses so far, and of those that stay
    for annotation in &mut annotations {
        let kept = annotation.kept();
        let points = annotation.points.filter(|_| kept).unwrap_or(0);
        match link(&mut document, annotation, &mut unnamed) {
            Ok(linked) => {
                let labelled = annotation.labelled as u64;
                counts.count_mismatch +=
                    usize::from(annotation.num_keypoints.is_some_and(|count| count != labelled));
                counts.crowd += usize::from(annotation.crowd);
                counts.unlabelled += usize::from(!annotation.crowd && labelled == 0);
                if kept {
                    let (width, height) = linked.size;
                    used[linked.category] = true;
                    counts.unknown_size += usize::from(width == 0);
                    image_size.extend([width, height]);
                    ids.push(annotation.id);
                    if from != to {
                        document.visibility.copy_within(from..from + points, to);
                        document
                            .coordinates
                            .copy_within(2 * from..2 * (from + points), 2 * to);
                    }
                    to += points;
                }
            }
            Err((field, reason)) if options.leave_out_bad => {
                annotation.bad = true;
                document
                    .bad
                    .add(annotation.record, Some(field.to_owned()), reason);
            }
            Err((field, reason)) => {
                return Err(CocoError::at(
                    Place::new(Section::Annotations, annotation.record, field),
                    reason,
                ));
            }
        }
        from += points;
    }
    document.visibility.truncate(to);
    document.coordinates.truncate(2 * to);
    document.bad.first.sort_by_key(|bad| bad.record);
    let category = pose_category(&document.categories, &used)?;
    let names = category.and_then(|category| category.keypoints.clone());
    Ok(CocoPoses {
        num_keypoints: names.as_ref().map_or(unnamed.unwrap_or(0), Vec::len),
        names,
        category: category.and_then(|category| category.name.clone()),
        bones: category.map_or(Vec::new(), |category| category.bones.clone()),
        labels: labels(
            &annotations,
            document.labels.table,
            &document.categories,
            document.category_ids,
            &used,
            options.label_field,
        )?,
        keypoints: document.coordinates,
        visibility: document.visibility,
        image_size,
        ids,
        counts,
        bad: document.bad,
    })
}

/// What an annotation refers to.
struct Linked {
    /// Index into the categories.
    category: usize,
    /// Of the image.
    size: (i32, i32),
}

/// Check an annotation against its image, its category and, if the category names no keypoints, the poses
/// before it, whose number of keypoints is in `unnamed`; else the field that is wrong, and why.
fn link(
    document: &mut Document,
    annotation: &Annotation,
    unnamed: &mut Option<usize>,
) -> Result<Linked, (&'static str, String)> {
    let id = annotation.image_id;
    let Some(image) = document.image_ids.find(id) else {
        return Err(("image_id", format!("must be the id of an image, {id} is none")));
    };
    let size = document.images[image];
    let id = annotation.category_id;
    let Some(category) = document.category_ids.find(id) else {
        let reason = format!("must be the id of a category, {id} is none");
        return Err(("category_id", reason));
    };
    let names = document.categories[category].keypoints.as_ref();
    let expected = names.map(Vec::len).or(annotation.points).unwrap_or(0);
    if let Some(points) = annotation.points {
        if points != expected {
            let (wanted, got) = (3 * expected, 3 * points);
            let reason = format!("must hold {expected} x 3 = {wanted} numbers, got {got}");
            return Err(("keypoints", reason));
        }
        if let Some(count) = annotation.num_keypoints.filter(|&count| count > expected as u64) {
            let reason = format!("must be at most {expected}, got {count}");
            return Err(("num_keypoints", reason));
        }
    }
    if annotation.kept() && names.is_none() {
        let before = *unnamed.get_or_insert(expected);
        if before != expected {
            let reason = format!(
                "no category names the keypoints, so all poses must have the same number: \
                 got {expected} after {before}"
            );
            return Err(("keypoints", reason));
        }
    }
    Ok(Linked { category, size })
}

/// The first category in use, after a check that all in use name the same keypoints; with no pose at all,
/// all that name keypoints count as in use.
fn pose_category<'a>(categories: &'a [Category], used: &[bool]) -> Result<Option<&'a Category>, CocoError> {
    let any = used.contains(&true);
    let mut candidates = categories.iter().zip(used).filter_map(|(category, &used)| {
        let counts = if any { used } else { category.keypoints.is_some() };
        counts.then_some(category)
    });
    let Some(first) = candidates.next() else {
        return Ok(None);
    };
    match candidates.find(|other| other.keypoints != first.keypoints) {
        None => Ok(Some(first)),
        Some(other) => Err(CocoError::at(
            Place {
                section: Section::Categories,
                ..Place::default()
            },
            format!(
                "poses of one file must share one skeleton, but {} and {} name different keypoints; \
                 write one file for each",
                title(first),
                title(other)
            ),
        )),
    }
}

fn title(category: &Category) -> String {
    match &category.name {
        Some(name) => format!("category {} (`{}`)", category.id, shorten(name)),
        None => format!("category {}", category.id),
    }
}

/// Labels from the first field in use, or from the category where that tells poses apart.
fn labels(
    annotations: &[Annotation],
    table: Vec<String>,
    categories: &[Category],
    mut category_ids: Ids,
    used: &[bool],
    label_field: Option<&str>,
) -> Result<Option<Labels>, CocoError> {
    let kept = || annotations.iter().filter(|annotation| annotation.kept());
    let slot =
        (0..LABEL_FIELDS.len()).find(|&slot| kept().any(|annotation| annotation.labels[slot] != NO_LABEL));
    match (slot, label_field) {
        (Some(slot), _) => {
            let mut table = table;
            let none = table.iter().position(String::is_empty).unwrap_or_else(|| {
                table.push(String::new());
                table.len() - 1
            }) as u32;
            let code = |annotation: &Annotation| match annotation.labels[slot] {
                NO_LABEL => none,
                code => code,
            };
            Ok(Some(Labels {
                codes: kept().map(code).collect(),
                table,
            }))
        }
        (None, Some(field)) if used.contains(&true) => Err(CocoError::at(
            Place {
                section: Section::Annotations,
                record: None,
                field: field.to_owned(),
            },
            "no annotation with a labelled keypoint has this label field",
        )),
        (None, None) if used.iter().filter(|&&used| used).count() > 1 => Ok(Some(Labels {
            table: categories
                .iter()
                .map(|category| category.name.clone().unwrap_or_else(|| category.id.to_string()))
                .collect(),
            codes: kept()
                .filter_map(|annotation| category_ids.find(annotation.category_id))
                .map(|index| index as u32)
                .collect(),
        })),
        (None, _) => Ok(None),
    }
}
