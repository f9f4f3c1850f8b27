//! Every decoder of bytes that come from outside, and what must hold of each whatever the bytes.
//!
//! No decoder panics. What one accepts is within its bounds and has one spelling: written again, it is the same bytes.
//! The text formats with several spellings (TOML and JSON files) must at least mean the same when they are written
//! and read again.
//!
//! The fuzzer's binary and the test that replays the corpora (`ledger/tests/corpora.rs`) share this file.

use std::str::from_utf8;

use chancery_ledger::answer::{
    Moment, Nonce, decode_answer, decode_past_answer, verify, verify_past, verify_recent,
};
use chancery_ledger::authority::{
    BLOCK_COMMANDS_MAX, BLOCK_SIZE_BYTES_MAX, Block, DEDUP_ENTRY_SIZE_BYTES, DedupEntry,
    ENTRY_SIZE_BYTES_MAX, Entry,
};
use chancery_ledger::checkpoint::{
    NOTE_BYTES_MAX, Note, SIGNATURES_MAX, SignatureLine, SignedCheckpoint, TlogProof, VerifierKey,
};
use chancery_ledger::command::{
    COMMAND_SIZE_BYTES_MAX, Command, LedgerId, Name, PATTERNS_MAX, Pattern, Patterns, SignedCommand,
    Template, decode_strict, limits_from_wire, roster_from_wire,
};
use chancery_ledger::condition::{
    ARGUMENTS_SIZE_BYTES_MAX, Arguments, Call, Condition, Fact, Schema, admit, canonical_arguments,
};
use chancery_ledger::decide::{Interval, Request, decide};
use chancery_ledger::evidence::{
    CONTRADICTION_SIZE_BYTES_MAX, Contradiction, Equivocation, Evidence, NoPermit, Record, RecordedBy,
};
use chancery_ledger::follow::{Follower, RESUME_TOKEN_TEXT_SIZE_MAX, ResumeToken};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, ROSTER_LINKS_MAX, RosterChain, Statement, VOTERS_MAX};
use chancery_ledger::knowledge::{
    ITEMS_MAX, Item, Knowledge, KnowledgeProof, KnowledgeTree, SHOWN_ITEMS_MAX,
};
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::log::{
    Frontier, TilePath, decode_entry_bundle, encode_entry_bundle, verify_consistency, verify_inclusion,
};
use chancery_ledger::state::{Kept, Node, PrunedTree, PrunedView, decode_keys, encode_keys};
use chancery_ledger::trust::{NEWEST_SIZE_BYTES_MAX, Newest, Trust};
use chancery_proto::v1 as wire;

/// Most bytes of an answer or a pruned tree here: what a genesis may allow at most.
const PROOF_SIZE_BYTES_MAX: usize = 16 << 20;

/// What is given the bytes; it panics if a claim does not hold.
pub(crate) type Decoder = fn(&[u8]);

/// Decoders by name; a corpus bears the same name.
pub(crate) const DECODERS: &[(&str, Decoder)] = &[
    ("answer", answer),
    ("arguments", arguments),
    ("block", block),
    ("checkpoint", checkpoint),
    ("command", command),
    ("condition", condition),
    ("contradiction", contradiction),
    ("decide", decide_over),
    ("dedup_entry", dedup_entry),
    ("entry", entry),
    ("entry_bundle", entry_bundle),
    ("evidence", evidence),
    ("frontier", frontier),
    ("kept_nodes", kept_nodes),
    ("knowledge", knowledge),
    ("knowledge_proof", knowledge_proof),
    ("log_proof", log_proof),
    ("name", name),
    ("newest", newest),
    ("no_permit", no_permit),
    ("equivocation", equivocation),
    ("nonce_path", nonce_path),
    ("note", note),
    ("past_answer", past_answer),
    ("pruned_tree", pruned_tree),
    ("record", record),
    ("recorded_by", recorded_by),
    ("resume_token", resume_token),
    ("roster", roster),
    ("roster_chain", roster_chain),
    ("statement", statement),
    ("template", template),
    ("tile_path", tile_path),
    ("tlog_proof", tlog_proof),
    ("tree_node", tree_node),
    ("trust", trust),
    ("vkey", vkey),
    ("wire", wire_messages),
];

fn answer(bytes: &[u8]) {
    let Ok(answer) = decode_answer(bytes, PROOF_SIZE_BYTES_MAX) else { return };
    assert_eq!(answer.encode(), bytes);
    assert!(answer.statements.len().max(answer.head_statements.len()) <= 2 * VOTERS_MAX);
    assert_eq!(decode_answer(bytes, bytes.len() - 1).ok(), None, "a bound below its size admits it");
    // Nobody trusted signed it: whatever it says, it must not verify.
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    assert!(verify(&trust, &some_request(), Nonce([7; 32]), &answer).is_err());
    assert!(verify_recent(&trust, &some_request(), &answer).is_err());
}

fn past_answer(bytes: &[u8]) {
    let Ok(answer) = decode_past_answer(bytes, PROOF_SIZE_BYTES_MAX) else { return };
    assert_eq!(answer.encode(), bytes);
    assert!(answer.statements.len().max(answer.head_statements.len()) <= 2 * VOTERS_MAX);
    assert_eq!(decode_past_answer(bytes, bytes.len() - 1).ok(), None, "a bound below its size admits it");
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    for moment in [Moment::Block(7), Moment::Time(TIME_MS)] {
        assert!(verify_past(&trust, &some_request(), moment, &answer).is_err());
    }
}

fn arguments(bytes: &[u8]) {
    let used = Arguments::read(bytes, Hash::of(&[bytes])).is_ok();
    let Ok(canonical) = canonical_arguments(bytes) else { return assert!(!used) };
    assert!(canonical.len() <= ARGUMENTS_SIZE_BYTES_MAX);
    assert_eq!(used, canonical == bytes);
    assert!(Arguments::read(&canonical, Hash::of(&[&canonical])).is_ok());
}

fn block(bytes: &[u8]) {
    let Ok(block) = Block::decode(bytes) else { return };
    assert_eq!(block.encode(), bytes);
    assert!(bytes.len() <= BLOCK_SIZE_BYTES_MAX && block.commands.len() <= BLOCK_COMMANDS_MAX);
    // Read without decoding the rest, it must be what decoding it says.
    if let Some(stamp_ms) = Block::stamp_of(bytes) {
        assert_eq!(stamp_ms, block.stamp_ms);
    }
}

fn checkpoint(bytes: &[u8]) {
    let Ok(signed) = SignedCheckpoint::parse(bytes) else { return };
    assert_eq!(signed.encode().as_bytes(), bytes);
    if let Ok(key) = VerifierKey::parse(VKEY) {
        assert!(signed.verify_log_signature(&key).is_err());
        let _ = signed.verify_cosignatures(&[key]);
    }
}

fn command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        assert!(bytes.len() <= COMMAND_SIZE_BYTES_MAX, "{command:?}");
    }
    let Ok(signed) = SignedCommand::decode(bytes) else { return };
    assert_eq!(signed.encode(), bytes);
}

/// A condition, and behind a zero byte the schema that it is checked against.
fn condition(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let (text, schema) = text.split_once('\0').map_or((text, None), |(text, schema)| (text, Some(schema)));
    let Ok(condition) = Condition::new(text) else { return };
    let schema = schema.and_then(|schema| Schema::new(schema).ok());
    if admit(&condition, schema.as_ref()).is_err() {
        return;
    }
    // What is admitted can be decided, whatever comes of it, and always alike.
    let Request { agent, action, resource, .. } = some_request();
    let decided = || {
        let call = Call::new([&agent, &action, &resource], Hash::of(&[b"{}"]), Some(b"{}"));
        call.satisfies(&condition, &Fact::Record(Vec::new()))
    };
    let first = decided();
    assert!(first.is_ok() && first == decided(), "{text}");
}

fn contradiction(bytes: &[u8]) {
    let named = Contradiction::is_named_by(bytes);
    let Ok(contradiction) = Contradiction::from_json(bytes) else { return };
    assert!(named && bytes.len() <= CONTRADICTION_SIZE_BYTES_MAX);
    let text = contradiction.to_json();
    assert_eq!(Contradiction::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
}

/// Decides over whatever state the bytes show: an error is no permit, and nothing else may happen.
fn decide_over(bytes: &[u8]) {
    let Ok(tree) = PrunedTree::decode(bytes, PROOF_SIZE_BYTES_MAX) else { return };
    let view = PrunedView::new(&tree);
    let _ = decide(&view, &some_request(), Interval { low_ms: TIME_MS, high_ms: TIME_MS });
    let _ = view.finish();
}

fn dedup_entry(bytes: &[u8]) {
    let Some(entry) = DedupEntry::decode(bytes) else { return };
    assert_eq!(entry.encode(), bytes);
    assert_eq!(bytes.len(), DEDUP_ENTRY_SIZE_BYTES);
}

fn entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    assert_eq!(entry.encode(), bytes);
    assert!(bytes.len() <= ENTRY_SIZE_BYTES_MAX);
}

/// The width asked for, two bytes, then the bundle.
fn entry_bundle(bytes: &[u8]) {
    let Some((width, bundle)) = bytes.split_first_chunk() else { return };
    let width = u16::from_be_bytes(*width);
    let Ok(entries) = decode_entry_bundle(bundle, width) else { return };
    assert_eq!(entries.len(), usize::from(width));
    assert_eq!(encode_entry_bundle(&entries).ok().as_deref(), Some(bundle));
}

fn evidence(bytes: &[u8]) {
    let Ok(evidence) = Evidence::from_json(bytes) else { return };
    let text = evidence.to_json();
    assert_eq!(Evidence::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    let _ = evidence.verify(&trust);
}

fn record(bytes: &[u8]) {
    let named = Record::is_named_by(bytes);
    let Ok(record) = Record::from_json(bytes) else { return };
    assert!(named && record.head.statements.len() <= 2 * VOTERS_MAX);
    let text = record.to_json();
    assert_eq!(Record::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    assert!(record.verify(&trust).is_err());
}

fn recorded_by(bytes: &[u8]) {
    let named = RecordedBy::is_named_by(bytes);
    let Ok(file) = RecordedBy::from_json(bytes) else { return };
    assert!(named);
    let text = file.to_json();
    assert_eq!(RecordedBy::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    assert!(file.verify(&trust).is_err());
}

fn no_permit(bytes: &[u8]) {
    let named = NoPermit::is_named_by(bytes);
    let Ok(file) = NoPermit::from_json(bytes) else { return };
    assert!(named);
    let text = file.to_json();
    assert_eq!(NoPermit::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    assert!(file.verify(&trust).is_err());
}

fn equivocation(bytes: &[u8]) {
    let named = Equivocation::is_named_by(bytes);
    let Ok(file) = Equivocation::from_json(bytes) else { return };
    assert!(named);
    let text = file.to_json();
    assert_eq!(Equivocation::from_json(text.as_bytes()).map(|again| again.to_json()).ok(), Some(text));
    let Some(trust) = some_trust() else { panic!("the trust file does not parse") };
    assert!(file.verify(&trust).is_err());
}

fn frontier(bytes: &[u8]) {
    let Ok(frontier) = Frontier::decode(bytes) else { return };
    assert_eq!(frontier.encode(), bytes);
    let _ = frontier.root();
}

/// Three numbers of eight bytes, then hashes: the arguments of both proof verifiers.
fn log_proof(bytes: &[u8]) {
    let Some((numbers, hashes)) = bytes.split_first_chunk::<24>() else { return };
    let (chunks, _) = hashes.as_chunks::<32>();
    let hashes: Vec<Hash> = chunks.iter().copied().map(Hash).collect();
    let number =
        |at: usize| numbers.iter().skip(at * 8).take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let (a, b) = (number(0), number(1));
    let (first, second) = (Hash([1; 32]), Hash([2; 32]));
    // No hashes that one can write down lead to these roots.
    assert!(verify_inclusion(&first, a, b, &hashes, &second).is_err());
    assert!(verify_consistency(a, &first, b, &second, &hashes).is_err());
}

fn knowledge(bytes: &[u8]) {
    let Ok(knowledge) = Knowledge::decode(bytes) else { return };
    assert_eq!(knowledge.encode(), bytes);
    assert!((1..=ITEMS_MAX).contains(&knowledge.count()) && knowledge.shown().len() <= SHOWN_ITEMS_MAX);
    // Whatever is shown is there, and so it is not absent.
    for placed in knowledge.shown() {
        assert!(placed.verify(&knowledge.root(), knowledge.count()).is_ok());
        assert!(knowledge.newest_of(&placed.item.source, u64::MAX).is_some());
    }
}

fn knowledge_proof(bytes: &[u8]) {
    if let Ok(items) = Item::list_from_json(bytes) {
        let text: String = items.iter().map(|item| item.to_json() + "\n").collect();
        assert_eq!(Item::list_from_json(text.as_bytes()).ok().as_ref(), Some(&items));
        if let Ok(tree) = KnowledgeTree::new(items) {
            let shown = (0..tree.count()).filter_map(|index| tree.placed(index));
            assert!(shown.take(4).all(|placed| placed.verify(&tree.root(), tree.count()).is_ok()));
        }
    }
    let Ok(proof) = KnowledgeProof::from_json(bytes) else { return };
    assert_eq!(KnowledgeProof::from_json(proof.to_json().as_bytes()).ok().as_ref(), Some(&proof));
    let _ = proof.verify();
}

fn template(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(template) = Template::new(text) else { return };
    assert_eq!(template.as_str(), text);
    assert!(text.len() <= 256);
    assert!(template.fill(|_| Some("x".into())).is_some_and(|source| !source.as_str().contains(['{', '}'])));
    // What is filled in never makes another place.
    let odd = template.fill(|_| Some("{agent}".into()));
    assert!(odd.is_none_or(|source| source.as_str().matches("{agent}").count() == text.matches('{').count()));
}

fn name(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let name = Name::new(text);
    if let Ok(name) = &name {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 256);
        assert!(
            Pattern::new(text).is_ok_and(|pattern| pattern.matches(name)),
            "a name is the pattern of itself"
        );
    }
    if let Ok(pattern) = Pattern::new(text) {
        assert_eq!(pattern.as_str(), text);
        assert!(pattern.covers(&pattern));
    }
    let lines: Option<Vec<Pattern>> = text.split('\n').map(|line| Pattern::new(line).ok()).collect();
    if let Some(Ok(patterns)) = lines.map(Patterns::new) {
        assert!(patterns.iter().count() <= PATTERNS_MAX && patterns.covers(&patterns));
    }
}

/// A client's `newest.toml`, about the ledger `LEDGER`.
fn newest(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Some(ledger) = Hash::from_hex(LEDGER).map(LedgerId) else { panic!("the ledger id does not parse") };
    let Ok(newest) = Newest::from_toml(text, ledger) else { return };
    assert!(bytes.len() <= NEWEST_SIZE_BYTES_MAX);
    let again = newest.to_toml(ledger).and_then(|text| Newest::from_toml(&text, ledger));
    assert_eq!(again, Ok(newest));
    assert!(Newest::from_toml(text, LedgerId(Hash::ZERO)).is_err(), "it is about another ledger");
}

/// Index and count, four bytes each, then hashes.
fn nonce_path(bytes: &[u8]) {
    let Some((index, rest)) = bytes.split_first_chunk() else { return };
    let Some((count, rest)) = rest.split_first_chunk() else { return };
    let (chunks, _) = rest.as_chunks::<32>();
    let path = NoncePath {
        index: u32::from_be_bytes(*index),
        count: u32::from_be_bytes(*count),
        hashes: chunks.iter().copied().map(Hash).collect(),
    };
    if path.root(&[7; 32]).is_ok() {
        assert!(path.index < path.count && path.hashes.len() <= 16);
    }
}

fn note(bytes: &[u8]) {
    if let Ok(line) = from_utf8(bytes)
        && let Ok(signature) = SignatureLine::parse(line)
    {
        assert_eq!(signature.encode(), line);
    }
    let Ok(note) = Note::parse(bytes) else { return };
    assert_eq!(note.encode().as_bytes(), bytes);
    assert!(bytes.len() <= NOTE_BYTES_MAX && (1..=SIGNATURES_MAX).contains(&note.signatures().len()));
}

fn pruned_tree(bytes: &[u8]) {
    let Ok(tree) = PrunedTree::decode(bytes, PROOF_SIZE_BYTES_MAX) else { return };
    assert_eq!(tree.encode(), bytes);
    assert!(PrunedTree::decode(bytes, bytes.len() - 1).is_err(), "a bound below its size admits it");
}

/// How many keys, they, and nodes; the first is the root.
fn kept_nodes(bytes: &[u8]) {
    let Some(((count, keys), nodes)) = bytes.split_first().and_then(|(count, rest)| {
        let count = usize::from(count % 8);
        Some(((count, rest.get(..32 * count)?), rest.get(32 * count..)?))
    }) else {
        return;
    };
    let mut kept = Kept::default();
    if kept.take(nodes).is_err() {
        return;
    }
    let Ok(keys) = decode_keys(keys) else { return };
    assert!(keys.len() == count && encode_keys(&keys) == bytes[1..=32 * count]);
    let root = match *nodes {
        [1, bit, ref rest @ ..] => Hash::of(&[&[0x11, 0, bit], &rest[..64]]),
        [3, ref rest @ ..] => Hash::of(&[&[0x10], &rest[..64]]),
        _ => return,
    };
    let Ok(tree) = kept.cut(root, &keys, PROOF_SIZE_BYTES_MAX) else { return };
    assert_eq!(kept.cut(root, &keys, PROOF_SIZE_BYTES_MAX), Ok(tree.clone()), "the same again");
    // Unless nothing was asked, it is a tree of that root for anybody, and shows each key and nothing else.
    assert_eq!(tree.root_hash(), root);
    let decoded = PrunedTree::decode(&tree.encode(), PROOF_SIZE_BYTES_MAX);
    assert_eq!(decoded.as_ref(), Ok(&tree));
    let view = PrunedView::new(&tree);
    for key in &keys {
        assert!(view.get(key).is_ok());
    }
    assert!(view.finish().is_ok());
}

fn resume_token(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(token) = text.parse::<ResumeToken>() else { return };
    assert_eq!(token.to_string().as_bytes(), bytes);
    assert!(bytes.len() <= RESUME_TOKEN_TEXT_SIZE_MAX);
    assert_eq!(Follower::resume(token.clone()).token(), token);
}

fn roster(bytes: &[u8]) {
    if let Ok(limits) = decode_strict::<wire::Limits>(bytes, 4096) {
        let _ = limits_from_wire(limits);
    }
    let Ok(message) = decode_strict::<wire::Roster>(bytes, 65_536) else { return };
    let Ok(roster) = roster_from_wire(message) else { return };
    for set in roster.sets() {
        let count = set.voters().len();
        assert!((1..=VOTERS_MAX).contains(&count));
        assert!(2 * set.quorum() as usize > count && set.quorum() as usize <= count);
    }
    // The digest is over the encoding, of which there is one.
    assert_eq!(roster.digest(), Hash::labelled("chancery/roster/v1", &[bytes]));
}

fn roster_chain(bytes: &[u8]) {
    let Ok(chain) = RosterChain::decode(bytes) else { return };
    assert_eq!(chain.encode(), bytes);
    assert!(chain.links.len() <= ROSTER_LINKS_MAX as usize);
}

fn statement(bytes: &[u8]) {
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(head.encode(), bytes);
    }
    let Ok(statement) = Statement::decode(bytes) else { return };
    assert_eq!(statement.encode(), bytes);
}

fn tile_path(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Some(path) = TilePath::parse(text) else { return };
    assert_eq!(path.to_string(), text);
    assert!((1..=256).contains(&path.width()));
}

fn tlog_proof(bytes: &[u8]) {
    let Ok(proof) = TlogProof::parse(bytes) else { return };
    assert_eq!(proof.encode().as_bytes(), bytes);
    let _ = proof.verify_inclusion(&Hash::ZERO);
}

fn tree_node(bytes: &[u8]) {
    let Ok(node) = Node::decode(bytes) else { return };
    assert_eq!(node.encode(), bytes);
}

fn trust(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(trust) = Trust::from_toml(text) else { return };
    let text = trust.to_toml();
    assert_eq!(Trust::from_toml(&text).map(|again| again.to_toml()).ok(), Some(text));
}

fn vkey(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(key) = VerifierKey::parse(text) else { return };
    assert_eq!(key.to_string(), text);
}

/// The strict decoding of every message that stands in the log, the state or an answer.
fn wire_messages(bytes: &[u8]) {
    macro_rules! strict {
        ($($message:ident),*) => {
            $(if let Ok(message) = decode_strict::<wire::$message>(bytes, 65_536) {
                assert_eq!(prost::Message::encode_to_vec(&message), bytes);
            })*
        };
    }
    strict!(
        Answer,
        Block,
        Command,
        Entry,
        Genesis,
        Limits,
        NoncePath,
        Principal,
        Record,
        Roster,
        SignedCommand,
        Terms
    );
}

/// A time in the vectors' story, in milliseconds since 1970.
const TIME_MS: u64 = 1_800_000_005_505;

/// The ledger that the seeds of `newest` are about.
const LEDGER: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// A key of which nobody here has the secret.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

/// A ledger of which nobody here has a key.
fn some_trust() -> Option<Trust> {
    let text = format!(
        "origin = \"o\"\nledger = \"{0}\"\nclock_skew_ms_max = 500\n[roster]\nquorum = 1\n\
         [[roster.voters]]\nnode = 1\nname = \"n\"\nkey = \"{0}\"\n",
        "07".repeat(32)
    );
    Trust::from_toml(&text).ok()
}

/// A question in the vectors' story.
fn some_request() -> Request {
    // INVARIANT: all three are names.
    let name = |text: &str| Name::new(text).unwrap_or_else(|error| panic!("{text} {error}"));
    Request {
        agent: name("team/a"),
        action: name("repo/read"),
        resource: name("repo/main"),
        args_digest: Hash::ZERO,
        args: None,
        knowledge: None,
        generation: None,
        hint: None,
    }
}
