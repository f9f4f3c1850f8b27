//! Characters that are not seen, or that change how others are: two names that look the same would be two.
//!
//! The table is part of the rules by which commands are refused, so it is spelled out here and does not grow
//! with some library's version of Unicode: nodes of different builds would disagree.

/// `Default_Ignorable_Code_Point` of Unicode 17, which has every `Bidi_Control`, zero-width characters, variation
/// selectors, tags and fillers; and what else has no shape of its own: interlinear annotation (FFF9 to FFFB)
/// and the blank Braille pattern.
const RANGES: [(char, char); 18] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether `c` is one of them.
pub(crate) fn is_invisible(c: char) -> bool {
    // Most names are ASCII, and none of these is.
    !c.is_ascii() && RANGES.iter().any(|(first, last)| (*first..=*last).contains(&c))
}
