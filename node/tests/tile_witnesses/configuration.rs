//! Which witnesses can be configured.

use chancery_ledger::trust::WITNESSES_MAX;
use chancery_node::config::{ConfigError, TilesConfig, WitnessConfig, WitnessesConfig};
use chancery_node::tile_log::Witnesses;

use crate::fake::Fake;

fn config(servers: &[(&str, &str)], quorum: Option<u32>) -> WitnessesConfig {
    let server = |(url, vkey): &(&str, &str)| WitnessConfig { url: (*url).into(), vkey: (*vkey).into() };
    WitnessesConfig { quorum, servers: servers.iter().map(server).collect() }
}

fn vkey(label: &str) -> String {
    Fake::down(label).key().to_string()
}

#[tokio::test]
async fn witnesses_are_optional_and_stand_in_the_file_as_tables() {
    let none = "listen = \"127.0.0.1:7601\"\nlog_key = \"log.key\"\n";
    let none: TilesConfig = toml::from_str(none).unwrap();
    assert_eq!(none.witnesses, None);
    assert!(!toml::to_string(&none).unwrap().contains("witness"));

    let (one, two, three) = (vkey("w1"), vkey("w2"), vkey("w3"));
    let some = format!(
        "{}[[witnesses.servers]]\nurl = \"https://w1.example/\"\nvkey = \"{one}\"\n\
         [[witnesses.servers]]\nurl = \"http://127.0.0.1:1/a/b\"\nvkey = \"{two}\"\n\
         [[witnesses.servers]]\nurl = \"http://[::1]:1\"\nvkey = \"{three}\"\n",
        toml::to_string(&none).unwrap()
    );
    let some: TilesConfig = toml::from_str(&some).unwrap();
    let witnesses = some.witnesses.as_ref().unwrap();
    let rule = witnesses.rule().unwrap();
    assert_eq!((rule.quorum(), rule.keys().len()), (2, 3), "more than half, if the file does not say");
    assert!(Witnesses::configured(witnesses).is_ok());
    assert_eq!(toml::from_str::<TilesConfig>(&toml::to_string(&some).unwrap()).unwrap(), some);
}

#[tokio::test]
async fn what_is_no_witness_stops_the_node_from_starting() {
    let (one, two) = (vkey("w1"), vkey("w2"));
    let other_type = one.replacen('B', "A", 1);
    let url = "https://w.example";
    let many: Vec<String> = (0..=WITNESSES_MAX).map(|number| vkey(&format!("w{number}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|vkey| (url, vkey.as_str())).collect();
    assert!(Witnesses::configured(&config(&many[1..], None)).is_ok());
    let cases = [
        ("too many", config(&many, None)),
        ("one twice", config(&[(url, &one), (url, &one)], None)),
        ("no key", config(&[(url, "w1")], None)),
        ("a key of no known type", config(&[(url, &other_type)], None)),
        ("more than there are", config(&[(url, &one), (url, &two)], Some(3))),
        ("none demanded", config(&[(url, &one)], Some(0))),
        ("none", config(&[], None)),
        ("another scheme", config(&[("ftp://w.example", &one)], None)),
        ("no scheme", config(&[("w.example", &one)], None)),
        ("no host", config(&[("https:///a", &one)], None)),
        ("a query", config(&[("https://w.example/?a", &one)], None)),
        ("a space", config(&[("https://w.example/a b", &one)], None)),
        ("nothing", config(&[("", &one)], None)),
    ];
    for (what, config) in cases {
        assert!(matches!(Witnesses::configured(&config), Err(ConfigError::Witness(_))), "{what}");
    }
}
