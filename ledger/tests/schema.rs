//! The schema in `docs/formats.md` is the one that the program is made from.

#![allow(clippy::unwrap_used)]

/// The words of a schema, without its comments.
fn words(schema: &str) -> Vec<&str> {
    schema.lines().filter_map(|line| line.split("//").next()).flat_map(str::split_whitespace).collect()
}

#[test]
fn the_documented_schema_is_the_schema() {
    let formats = include_str!("../../docs/formats.md");
    let (_, appendix) = formats.split_once("```proto\n").unwrap();
    let (documented, _) = appendix.split_once("```").unwrap();
    assert_eq!(words(documented), words(include_str!("../../proto/chancery/v1/ledger.proto")));
}
