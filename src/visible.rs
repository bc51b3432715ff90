//! Which characters of a name or a text are visible, by Unicode's data. `static/js/names.js` has
//! the same rules.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup,
        Script,
    },
};

/// How a character is displayed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharKind {
    /// Visible by itself.
    Shown,
    /// Changes the character before it.
    Mark,
    /// Separates words.
    Blank,
    /// Controls a device or the layout.
    Control,
    /// Decides whether its neighbours join.
    Joiner,
    /// Shows nothing, or changes how its neighbours look.
    Hidden,
}

/// Whether the text has a visible character.
pub fn has_visible_character(text: &str) -> bool {
    text.chars().any(|c| kind(c) == CharKind::Shown)
}

/// Whether every character of this name is visible, so that no two names look alike because of an
/// invisible one: marks have a base, joiners have an effect, and every other invisible character is
/// part of an emoji or of a script's spelling.
pub fn is_fully_visible(name: &str) -> bool {
    let chars: Vec<char> = name.chars().collect();
    let mut base = None;
    chars.iter().enumerate().all(|(at, &c)| {
        let (before, after) = (&chars[..at], &chars[at + 1..]);
        let kind = kind(c);
        match kind {
            CharKind::Shown | CharKind::Blank => {
                base = (kind == CharKind::Shown).then_some(c);
                true
            }
            CharKind::Mark => base.is_some(),
            CharKind::Control => false,
            CharKind::Joiner => joins(base, before.last(), after.first()),
            CharKind::Hidden => {
                is_flag(before, c, after) || is_spelled(before.last(), c, after.first())
            }
        }
    })
}

fn kind(c: char) -> CharKind {
    match c {
        '!'..='~' => CharKind::Shown,
        '\u{200C}' | '\u{200D}' => CharKind::Joiner,
        // A blank in Braille, controls of annotations, controls of hieroglyphs.
        '\u{2800}' | '\u{FFF9}'..='\u{FFFB}' | '\u{13430}'..='\u{1343F}' => CharKind::Hidden,
        _ if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) => CharKind::Hidden,
        _ => match category(c) {
            GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator => CharKind::Control,
            GeneralCategory::SpaceSeparator => CharKind::Blank,
            category if GeneralCategoryGroup::Mark.contains(category) => CharKind::Mark,
            _ => CharKind::Shown,
        },
    }
}

/// Whether a joiner has an effect: between two characters, or at the end of a word of a script that
/// spells with joiners.
fn joins(base: Option<char>, before: Option<&char>, after: Option<&char>) -> bool {
    let stands =
        |c: &&char| !matches!(kind(**c), CharKind::Blank | CharKind::Control | CharKind::Joiner);
    before.is_some_and(|c| stands(&c))
        && (base.is_some_and(|c| is_letter_of(&JOINING, c)) || after.is_some_and(|c| stands(&c)))
}

/// Scripts whose letters join, and those in which a virama makes conjuncts. The newest of them are
/// left out, because a browser that does not know one of these names cannot parse our client's
/// list.
#[rustfmt::skip]
const JOINING: [Script; 49] = {
    use Script as S;
    [
        S::Adlam, S::Arabic, S::Balinese, S::Bengali, S::Bhaiksuki, S::Brahmi, S::Chakma,
        S::Devanagari, S::Dogra, S::Grantha, S::Gujarati, S::GunjalaGondi, S::Gurmukhi,
        S::HanifiRohingya, S::Javanese, S::Kaithi, S::Kannada, S::Kharoshthi, S::Khmer, S::Khojki,
        S::Malayalam, S::Mandaic, S::Manichaean, S::MasaramGondi, S::MeeteiMayek, S::Modi,
        S::Mongolian, S::Myanmar, S::Nandinagari, S::Newa, S::Nko, S::Oriya, S::PhagsPa,
        S::PsalterPahlavi, S::Saurashtra, S::Sharada, S::Siddham, S::Sinhala, S::Sogdian,
        S::Soyombo, S::Sundanese, S::SylotiNagri, S::Syriac, S::TaiTham, S::Takri, S::Tamil,
        S::Telugu, S::Tirhuta, S::ZanabazarSquare,
    ]
};

/// Scripts whose characters have several forms, selected by a variation selector after them.
const VARYING: [Script; 5] = [
    Script::Han,
    Script::Myanmar,
    Script::PhagsPa,
    Script::Manichaean,
    Script::EgyptianHieroglyphs,
];

const MONGOLIAN: [Script; 1] = [Script::Mongolian];

/// Whether this is a tag character in a flag emoji (such as England's).
fn is_flag(before: &[char], c: char, after: &[char]) -> bool {
    const FLAG: char = '\u{1F3F4}';
    const END: char = '\u{E007F}';
    const LETTERS: std::ops::RangeInclusive<usize> = 3..=6;
    let is_letter = |c: char| matches!(c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    let letters = before.iter().rev().take_while(|c| is_letter(**c)).count();
    let begun = before.iter().rev().nth(letters) == Some(&FLAG);
    let goes_on = after.first().is_some_and(|&next| is_letter(next) || next == END);
    begun && if c == END { LETTERS.contains(&letters) } else { is_letter(c) && goes_on }
}

/// Whether this is part of an emoji, or of how a script is spelled.
fn is_spelled(before: Option<&char>, c: char, after: Option<&char>) -> bool {
    let letter = |c: Option<&char>, scripts: &[_]| c.is_some_and(|c| is_letter_of(scripts, *c));
    let mark = |c: Option<&char>| c.is_some_and(|c| kind(*c) == CharKind::Mark);
    match (before, c, after) {
        (Some(&c), '\u{FE0E}' | '\u{FE0F}', _) if is_pictograph(c) => true,
        (Some('0'..='9' | '#' | '*'), '\u{FE0E}' | '\u{FE0F}', Some('\u{20E3}')) => true,
        (_, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}', _) => letter(before, &VARYING),
        (_, '\u{180B}'..='\u{180D}' | '\u{180F}', _) => letter(before, &MONGOLIAN),
        // A separated vowel in a word.
        (_, '\u{180E}', _) => letter(before, &MONGOLIAN) && letter(after, &MONGOLIAN),
        // Two marks of one letter that must not be reordered.
        (_, '\u{34F}', _) => mark(before) && mark(after),
        // Old Hangul: a syllable without its first consonant, or without its vowel.
        (_, '\u{115F}', Some('\u{1161}'..='\u{11A7}' | '\u{D7B0}'..='\u{D7C6}')) => true,
        (Some(first), '\u{1160}', Some('\u{11A8}'..='\u{11FF}' | '\u{D7CB}'..='\u{D7FB}')) => {
            matches!(first, '\u{1100}'..='\u{115E}' | '\u{A960}'..='\u{A97C}')
        }
        // Between two words of Braille.
        (Some('\u{2801}'..='\u{28FF}'), '\u{2800}', Some('\u{2801}'..='\u{28FF}')) => true,
        (Some(&c), '\u{13430}'..='\u{1343F}', _) => script(c) == Script::EgyptianHieroglyphs,
        _ => false,
    }
}

fn is_letter_of(scripts: &[Script], c: char) -> bool {
    GeneralCategoryGroup::Letter.contains(category(c)) && scripts.contains(&script(c))
}

fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use icu_properties::{
        PropertyNamesLong,
        props::{IndicSyllabicCategory, JoiningType},
    };

    use super::*;

    #[test]
    fn names_that_hide_nothing() {
        let names = [
            "Alice B. 홍길동 山田太郎 Ζωή Анна",
            "Zoe\u{308} q\u{323}\u{307}",
            "नेपाल क्\u{200D}ष",
            "നന്ദന്\u{200D}",
            "ශ්\u{200D}රී",
            "র\u{200D}্য",
            "علی\u{200C}رضا ه\u{200D} هَ\u{200D}",
            "👨\u{200D}👩\u{200D}👧 ❤\u{FE0F}\u{200D}🔥 👩🏽\u{200D}💻 ☝\u{FE0E}",
            "1\u{FE0F}\u{20E3} #\u{20E3}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F} 🇰🇷",
            "葛\u{E0100}城 神\u{FE00}",
            "ᠮᠣᠩᠭᠣᠯ\u{180B} ᠬᠠᠳ\u{180E}ᠠ",
            "\u{115F}\u{1161} \u{1100}\u{1160}\u{11A8}",
            "⠓⠑\u{2800}⠽⠕",
            "a\u{308}\u{34F}\u{301}",
        ];
        for name in names {
            for word in [name].into_iter().chain(name.split(' ')) {
                assert!(
                    is_fully_visible(word) && has_visible_character(word),
                    "{}",
                    word.escape_unicode()
                );
            }
        }
    }

    #[test]
    fn names_that_hide_something() {
        let hidden = [
            0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x180B, 0x180E, 0x200B, 0x200C, 0x200D,
            0x200E, 0x202E, 0x2060, 0x2064, 0x2067, 0x206A, 0x2800, 0x3164, 0xFE0F, 0xFEFF, 0xFFA0,
            0xFFF0, 0xFFF9, 0x1BCA0, 0x1D173, 0xE0001, 0xE0041, 0xE0100, 0xE0FFF, 0x0, 0x7F, 0x85,
            0x2028,
        ];
        for one in hidden.map(|code| char::from_u32(code).unwrap().to_string()) {
            for name in [one.clone(), format!("alice{one}"), format!("a {one}"), one.repeat(2)] {
                assert!(!is_fully_visible(&name), "{}", name.escape_unicode());
            }
            assert!(!has_visible_character(&one), "{}", one.escape_unicode());
        }
        let others = [
            "\u{301}",
            "a \u{301}",
            "\u{94D}",
            "a\u{200D}\u{200C}b",
            "a\u{200D} b",
            "홍\u{200D}",
            "a\u{FE0F}",
            "1\u{FE0F}",
            "😀\u{FE0F}\u{FE0F}",
            "葛\u{E0100}\u{E0101}",
            "🏴\u{E0067}\u{E0062}\u{E0065}",
            "🏴\u{E007F}",
            "😀\u{E0067}\u{E0062}\u{E007F}",
            "🏴\u{E0061}\u{E0061}\u{E0061}\u{E0061}\u{E0061}\u{E0061}\u{E0061}\u{E007F}",
        ];
        for name in others {
            assert!(!is_fully_visible(name), "{}", name.escape_unicode());
        }
    }

    #[test]
    fn blank_texts_show_nothing() {
        for text in ["", " \n\t", "\u{3000}\u{A0}", "\u{301}\u{20E3}", "\u{FE0F}\u{200D}"] {
            assert!(!has_visible_character(text), "{}", text.escape_unicode());
        }
        assert!(has_visible_character(" \u{200B}.") && has_visible_character("\u{115F}\u{1161}"));
    }

    /// The list agrees with Unicode's data, except for scripts that were added recently.
    #[test]
    fn joiners_are_spelled_with_where_letters_join_or_a_virama_does() {
        use {IndicSyllabicCategory as Syllabic, JoiningType as Joining};
        let recent = ["Chorasmian", "Dives_Akuru", "Kawi", "Old_Uyghur", "Tulu_Tigalari"];
        let of = |scripts: &mut dyn Iterator<Item = Script>| -> BTreeSet<&str> {
            scripts.map(|script| PropertyNamesLong::new().get(script).unwrap()).collect()
        };
        let joining = ('\0'..=char::MAX).filter(|&c| {
            let syllabic = CodePointMapData::new().get(c);
            matches!(syllabic, Syllabic::Virama | Syllabic::InvisibleStacker) || {
                let joining = CodePointMapData::new().get(c);
                matches!(joining, Joining::DualJoining | Joining::RightJoining)
            }
        });
        let expected = of(&mut joining.map(script)).into_iter();
        let expected: BTreeSet<_> = expected.filter(|name| !recent.contains(name)).collect();
        assert_eq!(of(&mut JOINING.into_iter()), expected);
    }
}
