#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::checkpoint::{CheckpointConfig, Trigger, TriggerKind};
use thalweg::policy::{Proactive, Script};
use thalweg::{Assignment, Config};

fn config(text: &str) {
    let Ok(config) = serde_json::from_str::<Config>(text) else { return };
    if config.validate().is_err() {
        return;
    }
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    Proactive::new(config.policy.clone()).unwrap();
    // More would only take time.
    if config.shards < 10_000 {
        let _ = config.initial(3);
    }
}

fn checkpoints(text: &str) {
    let Ok(config) = serde_json::from_str::<CheckpointConfig>(text) else { return };
    if config.validate().is_ok() {
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<CheckpointConfig>(&written).unwrap(), config);
        Trigger::new(&config, 0).unwrap();
    }
}

fn script(text: &str) {
    if let Ok(script) = text.parse::<Script>() {
        let start = Assignment::even(3, 2).unwrap();
        for from in [0, 10] {
            let _ = script.resolve(&start, from);
        }
    }
}

fn trigger(text: &str) {
    if let Ok(trigger) = text.parse::<TriggerKind>() {
        assert_eq!(trigger.to_string().parse::<TriggerKind>().ok(), Some(trigger));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 4 {
        0 => config(text),
        1 => checkpoints(text),
        2 => script(text),
        _ => trigger(text),
    }
});
