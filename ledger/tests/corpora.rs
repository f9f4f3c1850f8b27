//! What the fuzzer found interesting, fed to every decoder again: none panics, none accepts what it would not write.
//!
//! And what is near to it: some thousand mutations of each input, always the same ones. `MUTATIONS=1000000` looks at
//! more. `UPDATE_CORPORA=1` writes the seeds, which are the test vectors, before the fuzzer is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/src/decoders.rs"]
mod decoders;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chancery_ledger::hash::{Hash, from_hex, to_hex};
use chancery_ledger::state::{Key, MemoryNodes, NodeId, Root, Sent, encode_keys, update};
use decoders::DECODERS;
use serde_json::Value;

/// Most bytes of one kept input, and of all.
const INPUT_SIZE_BYTES_MAX: u64 = 64 * 1024;
const CORPORA_SIZE_BYTES_MAX: u64 = 3_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpora")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_decoder_stands_every_input() {
    if std::env::var_os("UPDATE_CORPORA").is_some() {
        write_seeds();
    }
    let mut size_bytes = 0;
    let mut inputs = Vec::new();
    for (name, _) in DECODERS {
        let of_this = files(&folder().join(name));
        assert!(!of_this.is_empty(), "{name} has no corpus");
        for path in of_this {
            let input = std::fs::read(&path).unwrap();
            let length = input.len() as u64;
            assert!(length <= INPUT_SIZE_BYTES_MAX, "{} is too large to keep", path.display());
            size_bytes += length;
            inputs.push(input);
        }
    }
    assert!(size_bytes <= CORPORA_SIZE_BYTES_MAX, "{size_bytes} bytes are too many to keep");
    for input in &inputs {
        for (_, decode) in DECODERS {
            decode(input);
        }
    }
}

/// How many mutations each decoder is fed.
const MUTATIONS: u32 = 4_000;

#[test]
fn every_decoder_stands_what_is_near() {
    let wanted = std::env::var("MUTATIONS").ok().map(|text| text.parse().expect("MUTATIONS is a number"));
    for (name, decode) in DECODERS {
        let corpus: Vec<Vec<u8>> =
            files(&folder().join(name)).iter().map(|path| std::fs::read(path).unwrap()).collect();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for _ in 0..wanted.unwrap_or(MUTATIONS) {
            let mut input = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(3) {
                mutate(&mut input, &corpus, &mut random);
            }
            let decoded = std::panic::catch_unwind(|| decode(&input));
            assert!(decoded.is_ok(), "{name} does not stand {}", to_hex(&input));
        }
    }
}

/// Numbers that are the same every time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    /// Often one of those at which something changes.
    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => [0, 1, 2, 0x7f, 0x80, 0xff, b'\n', b'+', b'/', b'*', b'9'][self.below(11)],
            _ => u8::try_from(self.below(256)).unwrap(),
        }
    }
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    let length = random.below(9).min(input.len() - at);
    match random.below(8) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.byte(),
        2 => input.insert(at, random.byte()),
        3 => drop(input.drain(at..at + length)),
        4 => input.truncate(at),
        5 => {
            let again = input[at..at + length].to_vec();
            drop(input.splice(at..at, again));
        }
        6 => {
            let other = &corpus[random.below(corpus.len())];
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len())..]);
        }
        _ => {
            let tail = input.split_off(at);
            for _ in 0..random.below(6) {
                input.push(random.byte());
            }
            input.extend(tail);
        }
    }
}

#[test]
fn every_corpus_has_a_decoder() {
    for path in files(&folder()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("node_") {
            // What nodes tell each other: their own test replays it.
            continue;
        }
        assert!(DECODERS.iter().any(|(known, _)| *known == name), "{name}");
    }
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let mut bytes = vec![0; text.len() / 2];
    from_hex(text, &mut bytes).unwrap();
    bytes
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    vectors[name].as_array().unwrap()
}

/// What is sent of a small tree to who asks for keys that begin so.
fn kept_nodes(keys: &[u8]) -> Vec<u8> {
    let key = |first: &u8| {
        let mut key = Key([0; 32]);
        key.0[0] = *first;
        key
    };
    let changes =
        [0x00, 0x01, 0x02, 0x80, 0x81, 0xc0].iter().map(|first| (key(first), Some(vec![*first].into())));
    let made = update(&MemoryNodes::new(), Root::EMPTY, NodeId(0), &changes.collect()).unwrap();
    let mut nodes = MemoryNodes::new();
    nodes.insert(&made);
    let keys: BTreeSet<Key> = keys.iter().map(key).collect();
    let missing = Sent::default().missing(&nodes, made.root, &keys).unwrap();
    [vec![u8::try_from(keys.len()).unwrap()], encode_keys(&keys), missing.nodes].concat()
}

/// The test vectors, by decoder, named by their hash as libFuzzer names its own.
fn write_seeds() {
    // As they are now, not as they were compiled: both may be made again in one go.
    let vectors = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors.json")).unwrap();
    let vectors: Value = serde_json::from_slice(&vectors).unwrap();
    let mut seeds: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut add = |decoder, bytes: Vec<u8>| seeds.entry(decoder).or_default().push(bytes);
    for command in list(&vectors, "commands") {
        add("command", unhex(&command["envelope"]));
        add("command", unhex(&command["command"]));
        add("wire", unhex(&command["command"]));
    }
    for command in list(&vectors, "malformed_commands") {
        add("command", unhex(&command["command"]));
    }
    for block in list(&vectors, "blocks") {
        add("block", unhex(&block["block"]));
        add("statement", unhex(&block["head"]["encoded"]));
        let mut bundle = Vec::new();
        let leaves = list(block, "leaves");
        bundle.extend(u16::try_from(leaves.len()).unwrap().to_be_bytes());
        for leaf in leaves {
            let entry = unhex(&leaf["entry"]);
            bundle.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
            bundle.extend_from_slice(&entry);
            add("entry", entry);
        }
        add("entry_bundle", bundle);
    }
    for condition in list(&vectors, "conditions") {
        let text = |member: &str| condition[member].as_str().unwrap_or_default();
        add("condition", text("condition").into());
        if condition["schema"].is_string() {
            add("condition", [text("condition"), text("schema")].join("\0").into());
        }
    }
    for arguments in list(&vectors, "arguments") {
        add("arguments", arguments["text"].as_str().unwrap().into());
    }
    for answer in list(&vectors, "answers") {
        add("answer", unhex(&answer["answer"]));
        add("pruned_tree", unhex(&answer["read_set"]));
        add("decide", unhex(&answer["read_set"]));
    }
    for answer in list(&vectors, "refused_answers") {
        add("answer", unhex(&answer["answer"]));
    }
    for answer in list(&vectors, "recent_answers") {
        add("answer", unhex(&answer["answer"]));
    }
    for answer in list(&vectors, "past_answers") {
        add("past_answer", unhex(&answer["answer"]));
    }
    for evidence in list(&vectors, "evidence") {
        add("evidence", evidence["file"].as_str().unwrap().into());
    }
    for record in list(&vectors, "recorded") {
        add("record", record["file"].as_str().unwrap().into());
    }
    for file in list(&vectors, "recorded_by") {
        add("recorded_by", file["file"].as_str().unwrap().into());
    }
    // Two pieces of evidence each: a few are enough.
    for file in list(&vectors, "equivocations").iter().take(4) {
        add("equivocation", file["file"].as_str().unwrap().into());
    }
    for file in list(&vectors, "no_permit").iter().take(3) {
        add("no_permit", file["file"].as_str().unwrap().into());
    }
    for entry in list(&vectors, "dedup") {
        add("dedup_entry", unhex(&entry["entry"]));
    }
    for record in list(&vectors, "records") {
        add("wire", unhex(&record["value"]));
        add("tree_node", [vec![1], unhex(&record["key"]), unhex(&record["value"])].concat());
        add("tree_node", [vec![0], unhex(&record["key"]), unhex(&record["value"])].concat());
    }
    for name in list(&vectors, "names") {
        add("name", name["text"].as_str().unwrap().into());
    }
    add("name", b"*\na\na/*".to_vec());
    for round in list(&vectors, "nonces") {
        let count = u32::try_from(list(round, "nonces").len()).unwrap();
        for (index, path) in (0_u32..).zip(list(round, "paths")).take(4) {
            let hashes: Vec<u8> = path.as_array().unwrap().iter().flat_map(unhex).collect();
            add("nonce_path", [&index.to_be_bytes()[..], &count.to_be_bytes(), &hashes].concat());
            let arguments = [u64::from(index), u64::from(count), 0].map(u64::to_be_bytes).concat();
            add("log_proof", [arguments, hashes].concat());
        }
    }
    for template in list(&vectors, "templates") {
        add("template", template["text"].as_str().unwrap().into());
    }
    for answer in list(&vectors, "answers") {
        if answer["question"]["knowledge"].is_string() {
            add("knowledge", unhex(&answer["question"]["knowledge"]));
        }
    }
    for file in list(&vectors, "knowledge_proofs") {
        add("knowledge_proof", file.as_str().unwrap().into());
    }
    for keys in [vec![0x00], vec![0x00, 0x81], vec![0x03, 0x80, 0xff]] {
        add("kept_nodes", kept_nodes(&keys));
    }
    for statement in ["fresh", "head"] {
        let statement = &vectors["statements"][statement];
        add("statement", unhex(&statement["encoded"]));
    }
    for chain in list(&vectors, "refused_chains").iter().chain([&vectors["roster_chain"]]) {
        add("roster_chain", unhex(&chain["chain"]));
    }
    for contradiction in list(&vectors, "contradictions") {
        add("contradiction", contradiction["file"].as_str().unwrap().into());
    }
    add("roster", unhex(&vectors["roster"]["encoded"]));
    add("wire", unhex(&vectors["roster"]["encoded"]));
    add("trust", vectors["trust_file"].as_str().unwrap().into());
    for number in [0, 7, u64::MAX >> 1] {
        let digits = "07".repeat(32);
        let newest = format!(
            "ledger = \"{digits}\"\nblock = {number}\nroster_block = 7\nroster_digest = \"{digits}\"\n"
        );
        add("newest", newest.into());
    }
    for size in [0_u64, 1, 5] {
        let fixed = "07".repeat(32 + 8 + 8);
        let hashes = "07".repeat(32 * size.count_ones() as usize);
        add("resume_token", format!("chancery-resume-v1:{fixed}{size:016x}{hashes}").into());
    }
    for size in [0_u64, 1, 2, 7] {
        let hashes = vec![size.count_ones().to_be_bytes()[3]; 32 * size.count_ones() as usize];
        add("frontier", [&size.to_be_bytes()[..], &hashes].concat());
    }
    for path in ["tile/0/000", "tile/entries/x001/x234/067", "tile/63/000.p/255", "tile/8/x001/000.p/1"] {
        add("tile_path", path.into());
    }
    add("vkey", b"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".to_vec());
    add("vkey", b"sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".to_vec());
    let checkpoint = "example.com/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} example.com/log \
                      UwOQPg==\n\u{2014} example.com/node UwOQPgAAAAA=\n";
    add("note", checkpoint.into());
    add("note", "\u{2014} example.com/node UwOQPgAAAAA=".into());
    add("checkpoint", checkpoint.into());
    add("tlog_proof", format!("c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\n{checkpoint}").into());
    add("tlog_proof", format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{checkpoint}").into());
    for (decoder, inputs) in seeds {
        let folder = folder().join(decoder);
        std::fs::create_dir_all(&folder).unwrap();
        // Those of formats that are no more would only fill the folder.
        for old in files(&folder) {
            if old.file_name().unwrap().to_str().unwrap().starts_with("seed-") {
                std::fs::remove_file(old).unwrap();
            }
        }
        for input in inputs {
            let name = format!("seed-{}", &Hash::of(&[&input]).to_string()[..34]);
            std::fs::write(folder.join(name), input).unwrap();
        }
    }
}
