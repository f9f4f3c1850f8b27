//! c2sp.org/signed-note: names, ids, vkeys, the form of a note.

use proptest::prelude::*;

use super::*;

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn verifies(note: &Note, key: &VerifierKey) -> bool {
    note.signatures().iter().any(|line| {
        line.name() == key.name()
            && line.key_id() == key.id()
            && line.signature().try_into().is_ok_and(|bytes| key.signed(note.text().as_bytes(), bytes))
    })
}

#[test]
fn the_example_of_signed_note_verifies() {
    let key = VerifierKey::parse(VKEY).unwrap();
    assert_eq!(key.to_string(), VKEY);
    assert_eq!((key.name().as_str(), key.id()), ("example.com/foo", 0x530d_903a));
    assert_eq!(key.signature_type(), SignatureType::Ed25519);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.encode(), NOTE);
    assert_eq!(note.text(), "This is an example message.\n");
    assert!(verifies(&note, &key));
    for tampered in tampered(NOTE.as_bytes()) {
        assert!(!Note::parse(&tampered).is_ok_and(|note| verifies(&note, &key)));
    }
}

#[test]
fn a_note_of_another_implementation_verifies() {
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    assert!(verifies(&Note::parse(note.as_bytes()).unwrap(), &VerifierKey::parse(key).unwrap()));
    // A plus sign in the base64.
    let key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(VerifierKey::parse(key).unwrap().to_string(), key);
}

#[test]
fn no_tampered_vkey_is_a_key() {
    for vkey in [VKEY.to_owned(), node_key(1).to_string()] {
        assert_eq!(VerifierKey::parse(&vkey).map(|key| key.to_string()), Ok(vkey.clone()));
        for tampered in tampered(vkey.as_bytes()) {
            let tampered = String::from_utf8_lossy(&tampered).into_owned();
            assert!(VerifierKey::parse(&tampered).is_err(), "{tampered}");
        }
    }
    assert_eq!(VerifierKey::parse(&VKEY.replace("530d903a", "530D903A")), Err(KeyError::Vkey));
    assert_eq!(VerifierKey::parse(&VKEY.replace("530d903a", "530d903b")), Err(KeyError::Id));
    assert_eq!(VerifierKey::parse(&VKEY.replace("+Ae", "+Bu")), Err(KeyError::SignatureType));
    assert_eq!(VerifierKey::parse(&VKEY.replace("foo", "f o")), Err(KeyError::Name));
}

#[test]
fn weak_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = ed25519_dalek::VerifyingKey::from_bytes(&identity).unwrap();
    assert_eq!(VerifierKey::new(name("a"), SignatureType::Ed25519, weak), Err(KeyError::PublicKey));
}

#[test]
fn one_key_has_another_id_for_each_type_and_name() {
    let public_key = signing_key(1).verifying_key();
    let key = |of: &str, of_type| VerifierKey::new(name(of), of_type, public_key).unwrap().id();
    assert_ne!(key("a", SignatureType::Ed25519), key("a", SignatureType::Cosignature));
    assert_ne!(key("a", SignatureType::Ed25519), key("b", SignatureType::Ed25519));
}

#[test]
fn key_names() {
    for good in ["a", "example.com/log42", "ключ", "a-b_c~d", "\u{200b}"] {
        assert_eq!(KeyName::new(good).unwrap().as_str(), good);
    }
    let longest = "a".repeat(KEY_NAME_BYTES_MAX);
    assert!(KeyName::new(&longest).is_ok());
    for bad in ["", " ", "a b", "a+b", "a\n", "a\tb", "\0", "a\u{a0}", "\u{2003}b", "\u{3000}", "\u{85}"] {
        assert_eq!(KeyName::new(bad), Err(KeyError::Name), "{bad:?}");
    }
    assert_eq!(KeyName::new(&format!("{longest}a")), Err(KeyError::Name));
}

#[test]
fn a_note_is_split_at_its_last_empty_line() {
    let note = "one\n\ntwo\n\n\n— a AAAAAAA=\n";
    let parsed = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(parsed.text(), "one\n\ntwo\n\n");
    assert_eq!(parsed.encode(), note);
    assert_eq!(parsed.signatures()[0].signature(), [0]);
}

#[test]
fn malformed_notes_are_refused() {
    let line = "— a AAAAAAA=\n";
    assert!(Note::parse(format!("t\n\n{line}").as_bytes()).is_ok());
    let parse = |note: String| Note::parse(note.as_bytes()).unwrap_err();
    assert_eq!(parse(String::new()), NoteError::Form);
    assert_eq!(parse("t\n".into()), NoteError::Form);
    assert_eq!(parse("t\n\n".into()), NoteError::Form);
    assert_eq!(parse("t\n\n\n".into()), NoteError::Form);
    assert_eq!(parse(line.into()), NoteError::Form);
    assert_eq!(parse(format!("\n{line}")), NoteError::Form);
    assert_eq!(parse(format!("t\n{line}")), NoteError::Form);
    assert_eq!(parse(format!("t\n\n{}", line.trim_end())), NoteError::Form);
    assert_eq!(parse(format!("t\n\n{line}\n")), NoteError::Form);
    assert_eq!(parse(format!("t\r\n\n{line}")), NoteError::Text);
    assert_eq!(parse(format!("t\0\n\n{line}")), NoteError::Text);
    assert_eq!(Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n"), Err(NoteError::Text));
    for line in [
        "- a AAAAAAA=",
        "—a AAAAAAA=",
        "— a",
        "— a ",
        "— a AAAAAA==",
        "— a AAAAAAB=",
        "— a AAAAAAA",
        "— a AAAAAAA= ",
        "— a  AAAAAAA=",
        "— a AAAAAAA=\r",
        " — a AAAAAAA=",
    ] {
        assert_eq!(parse(format!("t\n\n{line}\n")), NoteError::SignatureForm, "{line}");
    }
    assert_eq!(parse("t\n\n—  AAAAAAA=\n".into()), NoteError::KeyName(KeyError::Name));
    assert_eq!(parse("t\n\n— a+b AAAAAAA=\n".into()), NoteError::KeyName(KeyError::Name));
}

#[test]
fn notes_are_bounded() {
    let line = "— a AAAAAAA=\n";
    let note = |signatures: usize| format!("t\n\n{}", line.repeat(signatures));
    assert!(Note::parse(note(SIGNATURES_MAX).as_bytes()).is_ok());
    assert_eq!(Note::parse(note(SIGNATURES_MAX + 1).as_bytes()), Err(NoteError::SignatureCount));
    assert_eq!(Note::new("t\n".into(), Vec::new()), Err(NoteError::SignatureCount));
    let parsed = Note::parse(note(1).as_bytes()).unwrap();
    let filling = NOTE_BYTES_MAX - note(1).len() + 1;
    let full = Note::new(format!("{}\n", "t".repeat(filling)), parsed.signatures().to_vec()).unwrap();
    assert_eq!(full.encode().len(), NOTE_BYTES_MAX);
    assert_eq!(Note::parse(full.encode().as_bytes()), Ok(full));
    let longer = format!("{}\n", "t".repeat(filling + 1));
    assert_eq!(Note::new(longer, parsed.signatures().to_vec()), Err(NoteError::TooLong));
    assert_eq!(Note::parse(&vec![b'a'; NOTE_BYTES_MAX + 1]), Err(NoteError::TooLong));
    for text in ["", "t", "t\n\tu\n"] {
        assert_eq!(Note::new(text.into(), parsed.signatures().to_vec()), Err(NoteError::Text));
    }
    assert_eq!(SignatureLine::new(name("a"), 0, Vec::new()), Err(NoteError::SignatureForm));
}

proptest! {
    #[test]
    fn any_note_round_trips(
        text in "([^\\x00-\\x1f]{0,9}\n){1,4}",
        lines in prop::collection::vec(
            ("[a-z./]{1,9}", any::<u32>(), prop::collection::vec(any::<u8>(), 1..80)), 1..5),
    ) {
        let line = |(of, id, signature): (String, u32, Vec<u8>)| {
            SignatureLine::new(name(&of), id, signature).unwrap()
        };
        let note = Note::new(text, lines.into_iter().map(line).collect()).unwrap();
        prop_assert_eq!(Note::parse(note.encode().as_bytes()), Ok(note));
    }

    #[test]
    fn no_bytes_have_two_spellings(bytes in "(— ?|a| |\n|\\+|=|AAAAAAA=|1){0,24}") {
        if let Ok(note) = Note::parse(bytes.as_bytes()) {
            prop_assert_eq!(note.encode(), bytes);
        }
    }
}
