//! What is asked of witnesses, and which of their answers count.

use super::*;

#[test]
fn a_request_is_that_of_the_specification() {
    // The example of c2sp.org/tlog-witness.
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    let proof =
        ["PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk="];
    let hashes = proof.map(|line| super::super::spelling::parse_hash(line).unwrap());
    let expected = format!("old 20852014\n{}\n{}\n\n{note}", proof[0], proof[1]);
    assert_eq!(add_checkpoint_request(20_852_014, &hashes, &signed), expected);
    assert_eq!(add_checkpoint_request(0, &[], &signed), format!("old 0\n\n{note}"));
}

#[test]
fn a_size_has_one_spelling() {
    assert_eq!(parse_witnessed_size(b"0\n"), Some(0));
    assert_eq!(parse_witnessed_size(b"20852163\n"), Some(20_852_163));
    for body in
        [&b""[..], b"\n", b"5", b"05\n", b"+5\n", b"-5\n", b"5\n\n", b" 5\n", b"5\r\n", b"five\n", b"\xff\n"]
    {
        assert_eq!(parse_witnessed_size(body), None, "{body:?}");
    }
    assert_eq!(parse_witnessed_size(b"99999999999999999999\n"), None);
}

#[test]
fn of_an_answer_the_one_cosignature_that_verifies_counts() {
    let checkpoint = checkpoint();
    let line = |line: &SignatureLine| format!("{}\n", line.encode());
    let good = line(&cosign(&checkpoint, 1));
    let stranger = line(&cosign(&checkpoint, 2));
    let other = Checkpoint::new(name(ORIGIN), 7, Hash::of(&[b"root"])).unwrap();
    let bad = line(&cosign(&other, 1));
    let found = |answer: &str| {
        let found = checkpoint.cosignature_in(answer.as_bytes(), &node_key(1));
        found.inspect(|found| assert_eq!(line(found), good)).is_some()
    };
    assert!(found(&good));
    assert!(found(&format!("{stranger}{good}")));
    assert!(found(&format!("rubbish\n\n{bad}{good}{good}")));
    // A signature of a type that is not known here, and larger than those that are.
    let large = SignatureLine::new(node_name(1), 5, vec![7; 2_428]).unwrap();
    assert!(found(&format!("{}{good}", line(&large))));
    assert!(!found(""));
    assert!(!found("rubbish"));
    assert!(!found(&stranger));
    assert!(!found(&bad));
    let padding = "x".repeat(WITNESS_ANSWER_SIZE_BYTES_MAX);
    assert!(!found(&format!("{good}{padding}")));
    let invalid = [good.as_bytes(), b"\xff"].concat();
    assert_eq!(checkpoint.cosignature_in(&invalid, &node_key(1)), None);
}
