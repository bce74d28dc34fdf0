use super::*;
use crate::checkpoint::cost::CostModel;
use crate::checkpoint::hindsight::Hindsight;

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
fn first(trigger: &mut Trigger, forecast: &[f64]) -> u64 {
    1 + (0..).find(|epoch| trigger.decide(&second(*epoch, RATE), forecast, epoch + 1).is_some()).unwrap()
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
                if trigger.decide(&observation, &[], epoch + 1).is_some() {
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
        trigger.decide(&observation, &[], epoch + 1).is_some()
    });
    let young = (2.0 * 86_400.0_f64).sqrt();
    assert!((fired.unwrap() as f64 / 10.0 - young).abs() <= 0.2);
}

#[test]
fn under_each_cost_model_the_best_interval_is_kept_at_a_constant_rate() {
    for model in CostModel::ALL {
        for kind in [TriggerKind::Integral, TriggerKind::Foresight] {
            let config = CheckpointConfig {
                trigger: kind,
                cost_model: model,
                mean_time_between_failures: 4_000.0,
                ..CheckpointConfig::default()
            };
            let mut trigger = Trigger::new(&config, 0).unwrap();
            trigger.speeds_mut().checkpointed(3.0);
            trigger.speeds_mut().replayed(3 * RATE, 1.0);
            let best = trigger.costs().interval(RATE as f64);
            assert!(best > 10.0, "{best}");
            let forecast = [RATE as f64; LOOK_AHEAD];
            let fired = |epoch: &u64| trigger.decide(&second(*epoch, RATE), &forecast, epoch + 1).is_some();
            let interval = (0..).find(fired).unwrap() + 1;
            assert!((interval as f64 - best).abs() <= 1.0, "{model} {kind}: {interval} for {best}");
        }
    }
}

#[test]
fn without_a_forecast_foresight_is_the_integral_rule() {
    let mut seen = Vec::new();
    for kind in ["integral", "foresight"] {
        let mut trigger = integral(0.01, 1.0);
        trigger.config.trigger = kind.parse().unwrap();
        let records = |epoch: u64| crate::stable_hash(&epoch) % 2 * RATE + epoch % 50;
        let mut fired = Vec::new();
        for epoch in 0..3_000 {
            if trigger.decide(&second(epoch, records(epoch)), &[], epoch + 2).is_some() {
                fired.push(epoch);
            }
            trigger.completed(epoch, 0.01);
        }
        seen.push(fired);
    }
    assert!(seen[0].len() > 10 && seen[0] == seen[1], "{seen:?}");
}

/// A trigger just after a checkpoint, and the next epoch. Its forecasts of lulls have come true, and so are trusted.
fn trusting() -> (Trigger, u64) {
    let mut trigger = integral(0.1, 1.0);
    trigger.config.trigger = TriggerKind::Foresight;
    let records = |epoch: u64| if epoch % 50 < 5 { RATE / 10 } else { RATE };
    for epoch in 0.. {
        let forecast: Vec<f64> = (1..=64).map(|ahead| records(epoch + ahead) as f64).collect();
        if trigger.decide(&second(epoch, records(epoch)), &forecast, epoch + 1).is_some() {
            trigger.completed(epoch + 1, 0.1);
            if epoch > 5_000 {
                return (trigger, epoch + 1);
            }
        }
    }
    unreachable!("checkpoints are taken for ever")
}

#[test]
fn foresight_waits_for_a_lull_and_hurries_before_a_burst() {
    let young = first(&mut integral(0.1, 1.0), &[]);
    let (trusting, start) = trusting();
    let step = |rate: f64, at: usize| -> [f64; LOOK_AHEAD] {
        std::array::from_fn(|epoch| if epoch < at { RATE as f64 } else { rate })
    };
    let constant = step(RATE as f64, 0);
    let ask = |after: u64, path: [f64; LOOK_AHEAD]| {
        let mut trigger = trusting.clone();
        for epoch in start..start + after {
            // In time, no checkpoint is cheaper than the one that is asked for.
            let lull = step(0.01, (start + after + 5 - epoch) as usize);
            assert!(trigger.decide(&second(epoch, RATE), &lull, epoch + 1).is_none());
        }
        trigger.decide(&second(start + after, RATE), &path, start + after + 1)
    };
    // A fifth of an interval before its end, or at it.
    let (early, due) = (young * 4 / 5, young * 11 / 10);
    assert!(ask(early, constant).is_none());
    assert!(ask(early, step(10.0 * RATE as f64, 1)).is_some());
    assert!(ask(due, step(0.1 * RATE as f64, 5)).is_none());
    let reason = ask(due, constant).unwrap().to_string();
    assert!(reason.starts_with("foresight: ") && reason.contains(" records delayed for a checkpoint "), "{reason}");
}

#[test]
fn forecasts_that_are_always_wrong_cost_little() {
    let records = |epoch: u64| if epoch % 80 < 40 { RATE / 10 } else { 2 * RATE };
    let run = |kind: &str| {
        let mut trigger = integral(0.005, 1.0);
        trigger.config.trigger = kind.parse().unwrap();
        let mut checkpoints = Vec::new();
        for epoch in 0..4_000 {
            // What it says is the opposite of what comes.
            let forecast: Vec<f64> = (1..=64).map(|ahead| records(epoch + ahead + 40) as f64).collect();
            if trigger.decide(&second(epoch, records(epoch)), &forecast, epoch + 1).is_some() {
                checkpoints.push(epoch as usize + 1);
                trigger.completed(epoch + 1, 0.005);
            }
        }
        let arrivals: Vec<f64> = (0..4_000).map(|epoch| records(epoch) as f64).collect();
        Hindsight::new(&arrivals, 1.0, &trigger.costs()).cost(checkpoints)
    };
    let (foresight, integral) = (run("foresight"), run("integral"));
    assert!(foresight <= 1.05 * integral, "{foresight} {integral}");
}

#[test]
fn nothing_fires_before_a_record_has_arrived() {
    for kind in ["foresight", "integral", "literal"] {
        let mut quiet = trigger(kind);
        let state = |epoch| Observation { state_bytes: 1 << 50, ..second(epoch, 0) };
        assert!((0..1000).all(|epoch| quiet.decide(&state(epoch), &[1e9; 9], epoch + 1).is_none()));
    }
    assert_eq!(first(&mut trigger("every:7"), &[]), 7);
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
    let fired = (0..).find_map(|epoch| Some((epoch, trigger.decide(&observe(epoch), &[], epoch + 1)?)));
    let (epoch, reason) = fired.unwrap();
    assert_eq!(epoch, 6);
    assert_eq!(
        reason.to_string(),
        "literal: 1000.0 records/s x 11.000 s (4.000 s to restore, 7.000 s to replay) = 11000 > 10500 records"
    );
}

#[test]
fn one_in_flight_blocks_another_and_one_abandoned_is_due_again_at_once() {
    for kind in ["foresight", "integral", "literal"] {
        let mut trigger = trigger(kind);
        let burst = |epoch| second(epoch, 1 << 40);
        assert!(trigger.decide(&burst(0), &[], 1).is_some(), "{kind}");
        assert_eq!(trigger.in_flight(), 1);
        assert!((1..50).all(|epoch| trigger.decide(&burst(epoch), &[], epoch + 1).is_none()), "{kind}");
        let exposed = trigger.recovery().replay_seconds;
        trigger.abandoned(1);
        trigger.abandoned(0);
        assert_eq!((trigger.in_flight(), trigger.recovery().replay_seconds), (0, exposed), "{kind}");
        assert!(trigger.decide(&second(50, 0), &[], 51).is_some(), "{kind}");
        trigger.completed(51, 1.0);
        assert_eq!((trigger.in_flight(), trigger.recovery().replay_seconds), (0, 0.0), "{kind}");
        assert_eq!(trigger.decide(&second(51, 0), &[], 52), None, "{kind}");
    }
}

#[test]
fn one_that_keeps_being_abandoned_is_tried_less_and_less_often_until_one_is_complete() {
    for kind in ["foresight", "integral", "literal", "every:1"] {
        let mut trigger = trigger(kind);
        let next = |trigger: &mut Trigger, from: u64| {
            (from..).find(|epoch| trigger.decide(&second(*epoch, 1 << 40), &[], epoch + 1).is_some()).unwrap()
        };
        let mut epoch = next(&mut trigger, 0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            trigger.abandoned(epoch + 1);
            let again = next(&mut trigger, epoch + 1);
            waits.push(again - epoch);
            epoch = again;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64], "{kind}");
        trigger.completed(epoch + 1, 1.0);
        epoch = next(&mut trigger, epoch + 1);
        trigger.abandoned(epoch + 1);
        assert_eq!(next(&mut trigger, epoch + 1), epoch + 1, "{kind}");
    }
    // Several that fail together are one try.
    let mut trigger = trigger("every:1");
    assert!((0..5).all(|epoch| trigger.decide(&second(epoch, 1), &[], epoch + 1).is_some()));
    (1..6).for_each(|boundary| trigger.abandoned(boundary));
    assert!(trigger.decide(&second(5, 1), &[], 6).is_some());
}

#[test]
fn what_comes_after_the_boundary_is_not_in_the_checkpoint() {
    let mut trigger = trigger("every:10");
    trigger.speeds_mut().replayed(1, 1.0);
    // Decided on epoch 8 for the boundary 10: the records of 9 are in, those of 10 and later are not.
    for epoch in 0..13 {
        assert_eq!(trigger.decide(&second(epoch, 1), &[], epoch + 2).is_some(), epoch == 8);
    }
    assert_eq!(trigger.recovery().replay_seconds, 13.0);
    trigger.completed(10, 1.0);
    assert_eq!(trigger.recovery().replay_seconds, 3.0);
}

#[test]
fn every_n_does_not_wait_and_a_later_one_complete_ends_earlier_ones() {
    let mut trigger = trigger("every:5");
    let fired: Vec<u64> = (0..20).filter(|e| trigger.decide(&second(*e, 1), &[], e + 1).is_some()).collect();
    assert_eq!((fired.as_slice(), trigger.in_flight()), (&[4, 9, 14, 19][..], 4));
    trigger.completed(15, 1.0);
    trigger.completed(10, 1.0);
    assert_eq!(trigger.in_flight(), 1);
    trigger.abandoned(20);
    assert_eq!(trigger.decide(&second(20, 1), &[], 21), Some(Reason::Every { epochs: 6 }));
    assert_eq!(Reason::Every { epochs: 6 }.to_string(), "every: 6 epochs since the last checkpoint");
}

#[test]
fn odd_numbers_do_no_harm() {
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX];
    for kind in ["foresight", "integral", "literal"] {
        let mut trigger = trigger(kind);
        for (epoch, (seconds, predicted)) in odd.iter().flat_map(|s| odd.map(|p| (*s, p))).enumerate() {
            let observation = Observation { epoch: epoch as u64, records: u64::MAX, seconds, state_bytes: u64::MAX };
            let reason = trigger.decide(&observation, &[predicted; 9], epoch as u64 + 1);
            assert!(reason.is_none_or(|r| !r.to_string().is_empty()));
        }
        assert!(Trigger::new(&CheckpointConfig { keep: 0, ..CheckpointConfig::default() }, 0).is_err());
    }
}

/// Epochs that had to wait are complete together, all but the first in no time. What is decided is what would have been
/// had they been complete one by one.
#[test]
fn epochs_that_are_complete_together_arrive_no_faster() {
    for kind in ["integral", "foresight"] {
        let config = CheckpointConfig {
            trigger: kind.parse().unwrap(),
            mean_time_between_failures: 5.0,
            ..CheckpointConfig::default()
        };
        let taken = |stalled: bool| {
            let mut trigger = Trigger::new(&config, 0).unwrap();
            let mut taken = 0;
            for epoch in 0..2_000u64 {
                let seconds = match (stalled, epoch % 100) {
                    (true, 50) => 1.0 - 9.0 * 1e-5,
                    (true, 51..60) => 1e-5,
                    _ => 0.1,
                };
                let observation = Observation { epoch, records: 1_000, seconds, ..Observation::default() };
                if trigger.decide(&observation, &[1_000.0; 64], epoch + 2).is_some() {
                    trigger.completed(epoch + 2, 0.05);
                    taken += 1;
                }
            }
            taken
        };
        let (steady, stalled) = (taken(false), taken(true));
        assert!(steady > 15 && (stalled as f64 / steady as f64 - 1.0).abs() < 0.25, "{kind}: {stalled} for {steady}");
    }
}
