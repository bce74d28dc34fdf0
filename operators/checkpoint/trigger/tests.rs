use super::*;

const RATE: u64 = 1000;

fn trigger(kind: &str) -> Trigger {
    let config = CheckpointConfig { trigger: kind.parse().unwrap(), ..CheckpointConfig::default() };
    Trigger::new(&config, 0).unwrap()
}

/// A trigger for which a checkpoint takes so long, and replay so many times as long as arrival.
fn integral(checkpoint_seconds: f64, replay: f64) -> Trigger {
    let mut trigger = trigger("integral");
    trigger.speeds_mut().checkpointed(checkpoint_seconds);
    trigger.speeds_mut().replayed((RATE as f64 / replay) as u64, 1.0);
    trigger
}

fn second(epoch: u64, records: u64) -> Observation {
    Observation { epoch, records, seconds: 1.0, state_bytes: 0 }
}

/// The boundary at which the trigger fires first at the constant rate, with a lead of 1.
fn first(trigger: &mut Trigger, predicted: Option<f64>) -> u64 {
    1 + (0..).find(|epoch| trigger.decide(&second(*epoch, RATE), predicted, epoch + 1).is_some()).unwrap()
}

#[test]
fn at_a_constant_rate_the_interval_is_youngs() {
    for checkpoint_seconds in [0.01_f64, 0.1, 1.0, 10.0, 60.0] {
        for (replay, state_bytes) in [(1.0, 0), (1.0, 1 << 40), (0.1, 1 << 30)] {
            let young = (2.0 * checkpoint_seconds * 86_400.0 / replay).sqrt();
            let mut trigger = integral(checkpoint_seconds, replay);
            let mut last = 0;
            for epoch in 0..(5.0 * young) as u64 {
                let observation = Observation { state_bytes, ..second(epoch, RATE) };
                if trigger.decide(&observation, None, epoch + 1).is_some() {
                    let interval = (epoch + 1 - last) as f64;
                    assert!((interval - young).abs() <= 1.0, "{interval} for {young}");
                    trigger.completed(epoch + 1, checkpoint_seconds);
                    last = epoch + 1;
                }
            }
            assert!(last as f64 > 3.0 * young);
        }
    }
}

#[test]
fn the_length_of_an_epoch_does_not_matter() {
    let mut trigger = integral(1.0, 1.0);
    let fired = (0..100_000).find(|epoch| {
        let observation = Observation { epoch: *epoch, records: RATE / 10, seconds: 0.1, state_bytes: 0 };
        trigger.decide(&observation, None, epoch + 1).is_some()
    });
    let young = (2.0 * 86_400.0_f64).sqrt();
    assert!((fired.unwrap() as f64 / 10.0 - young).abs() <= 0.2);
}

#[test]
fn a_lull_ahead_is_a_cheap_moment_and_a_burst_a_dear_one() {
    let young = first(&mut integral(1.0, 1.0), None);
    let half = integral(1.0, 1.0);
    let half = (0..young / 2).fold(half, |mut trigger, epoch| {
        assert_eq!(trigger.decide(&second(epoch, RATE), None, epoch + 1), None);
        trigger
    });
    let ask = |rate: f64| half.clone().decide(&second(young / 2, RATE), Some(rate), young / 2 + 1);
    assert!(ask(0.0).is_some() && ask(RATE as f64).is_none());
    let mut late = integral(1.0, 1.0);
    assert!((0..young - 1).all(|epoch| late.decide(&second(epoch, RATE), None, epoch + 1).is_none()));
    assert!(late.clone().decide(&second(young - 1, RATE), None, young).is_some());
    assert!(late.decide(&second(young - 1, RATE), Some(10.0 * RATE as f64), young).is_none());
    // Not free, though: what is hardly exposed waits, and a forecast that is always wrong changes little.
    let mut tiny = integral(1.0, 1.0);
    assert_eq!(tiny.decide(&second(0, RATE), Some(RATE as f64), 1), None);
    assert_eq!(tiny.decide(&second(1, 0), Some(0.0), 2), None);
    assert!(first(&mut integral(1.0, 1.0), Some(0.0)).abs_diff(young) <= 1);
}

#[test]
fn nothing_fires_before_a_record_has_arrived() {
    for kind in ["integral", "literal"] {
        let mut quiet = trigger(kind);
        let state = |epoch| Observation { state_bytes: 1 << 50, ..second(epoch, 0) };
        assert!((0..1000).all(|epoch| quiet.decide(&state(epoch), Some(1e9), epoch + 1).is_none()));
    }
    assert_eq!(first(&mut trigger("every:7"), None), 7);
}

#[test]
fn the_literal_rule_multiplies_rate_and_recovery() {
    let config = CheckpointConfig {
        trigger: TriggerKind::Literal,
        checkpoint_threshold: 10_500.0,
        ..CheckpointConfig::default()
    };
    let mut trigger = Trigger::new(&config, 0).unwrap();
    trigger.speeds_mut().restored(100, 1.0);
    trigger.speeds_mut().replayed(RATE, 1.0);
    // 4 s to restore, and a second to replay for each that has passed: after 7, 1000 x (4 + 7) is more than 10500.
    let observe = |epoch| Observation { state_bytes: 400, ..second(epoch, RATE) };
    let fired = (0..).find_map(|epoch| Some((epoch, trigger.decide(&observe(epoch), None, epoch + 1)?)));
    let (epoch, reason) = fired.unwrap();
    assert_eq!(epoch, 6);
    assert_eq!(
        reason.to_string(),
        "literal: 1000.0 records/s x 11.000 s (4.000 s to restore, 7.000 s to replay) = 11000 > 10500 records"
    );
}

#[test]
fn one_in_flight_blocks_another_and_one_abandoned_is_due_again_at_once() {
    for kind in ["integral", "literal"] {
        let mut trigger = trigger(kind);
        let burst = |epoch| second(epoch, 1 << 40);
        assert!(trigger.decide(&burst(0), None, 1).is_some(), "{kind}");
        assert_eq!(trigger.in_flight(), 1);
        assert!((1..50).all(|epoch| trigger.decide(&burst(epoch), None, epoch + 1).is_none()), "{kind}");
        let exposed = trigger.recovery().replay_seconds;
        trigger.abandoned(1);
        trigger.abandoned(0);
        assert_eq!((trigger.in_flight(), trigger.recovery().replay_seconds), (0, exposed), "{kind}");
        assert!(trigger.decide(&second(50, 0), None, 51).is_some(), "{kind}");
        trigger.completed(51, 1.0);
        assert_eq!((trigger.in_flight(), trigger.recovery().replay_seconds), (0, 0.0), "{kind}");
        assert_eq!(trigger.decide(&second(51, 0), None, 52), None, "{kind}");
    }
}

#[test]
fn what_comes_after_the_boundary_is_not_in_the_checkpoint() {
    let mut trigger = trigger("every:10");
    trigger.speeds_mut().replayed(1, 1.0);
    // Decided on epoch 8 for the boundary 10: the records of 9 are in, those of 10 and later are not.
    for epoch in 0..13 {
        assert_eq!(trigger.decide(&second(epoch, 1), None, epoch + 2).is_some(), epoch == 8);
    }
    assert_eq!(trigger.recovery().replay_seconds, 13.0);
    trigger.completed(10, 1.0);
    assert_eq!(trigger.recovery().replay_seconds, 3.0);
}

#[test]
fn every_n_does_not_wait_and_a_later_one_complete_ends_earlier_ones() {
    let mut trigger = trigger("every:5");
    let fired: Vec<u64> = (0..20).filter(|e| trigger.decide(&second(*e, 1), None, e + 1).is_some()).collect();
    assert_eq!((fired.as_slice(), trigger.in_flight()), (&[4, 9, 14, 19][..], 4));
    trigger.completed(15, 1.0);
    trigger.completed(10, 1.0);
    assert_eq!(trigger.in_flight(), 1);
    trigger.abandoned(20);
    assert_eq!(trigger.decide(&second(20, 1), None, 21), Some(Reason::Every { epochs: 6 }));
    assert_eq!(Reason::Every { epochs: 6 }.to_string(), "every: 6 epochs since the last checkpoint");
}

#[test]
fn odd_numbers_do_no_harm() {
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX];
    for kind in ["integral", "literal"] {
        let mut trigger = trigger(kind);
        for (epoch, (seconds, predicted)) in odd.iter().flat_map(|s| odd.map(|p| (*s, p))).enumerate() {
            let observation = Observation { epoch: epoch as u64, records: u64::MAX, seconds, state_bytes: u64::MAX };
            let reason = trigger.decide(&observation, Some(predicted), epoch as u64 + 1);
            assert!(reason.is_none_or(|r| !r.to_string().is_empty()));
        }
        assert!(Trigger::new(&CheckpointConfig { keep: 0, ..CheckpointConfig::default() }, 0).is_err());
    }
}
