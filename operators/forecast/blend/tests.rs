use super::*;
use proptest::prelude::*;

/// Uniform in [-1, 1).
fn noise(i: usize) -> f64 {
    (crate::stable_hash(&(i as u64)) >> 40) as f64 / (1 << 23) as f64 - 1.0
}

fn day(t: usize) -> f64 {
    200.0 + 150.0 * (t as f64 / 24.0 * std::f64::consts::TAU).sin()
}

fn fed(values: impl IntoIterator<Item = f64>) -> Blend {
    let mut model = Blend::new(24);
    values.into_iter().for_each(|v| model.observe(v));
    model
}

#[test]
fn a_daily_cycle_is_found_and_beats_the_naive() {
    let model = fed((0..600).map(|t| day(t) * (1.0 + 0.1 * noise(t))));
    assert_eq!(model.seasons().map(|s| s.period), Some(24));
    for ahead in [1, 6, 24] {
        let forecast = model.forecast(ahead);
        assert!((forecast.mean / day(599 + ahead) - 1.0).abs() < 0.1, "{ahead}: {forecast:?}");
        assert!(
            forecast.is_sure() && model.skill(ahead).unwrap() > 0.1,
            "{ahead} {:?} {:?} {:?}",
            model.skill(ahead),
            model.seasons(),
            model.weights(ahead)
        );
    }
}

#[test]
fn it_knows_that_it_knows_nothing_of_a_random_walk() {
    let steps = (0..2_000).scan(500.0, |level, t| {
        *level += noise(t);
        Some(*level)
    });
    let model = fed(steps);
    assert!(model.skill(1).unwrap() < 0.05 && model.skill(24).unwrap() < 0.1);
    assert!((model.forecast(24).mean - model.forecast(1).mean).abs() < 2.0);
}

#[test]
fn the_interval_covers() {
    let value = |t: usize| day(t) * (1.0 + 0.2 * noise(t));
    let mut model = Blend::new(12);
    let (mut inside, mut all) = (0, 0);
    for t in 0..2_400 {
        if t > 480 && t % 5 == 0 {
            let forecasts = model.forecasts(12);
            inside += (0..12).filter(|h| (forecasts[*h].low..=forecasts[*h].high).contains(&value(t + h))).count();
            all += 12;
        }
        model.observe(value(t));
    }
    let coverage = inside as f64 / f64::from(all);
    assert!((0.93..=0.98).contains(&coverage), "{coverage}");
}

#[test]
fn a_level_shift_is_followed_and_a_spike_forgotten() {
    let shifted = fed((0..600).map(|t| day(t) * if t < 500 { 1.0 } else { 5.0 }));
    assert!((shifted.forecast(1).mean / (5.0 * day(600)) - 1.0).abs() < 0.1);
    let spiked = fed((0..600).map(|t| if t == 590 { 100_000.0 } else { day(t) }));
    assert!((spiked.forecast(1).mean / day(600) - 1.0).abs() < 0.2, "{:?}", spiked.forecast(1));
}

#[test]
fn zeros_and_holes_keep_the_phase() {
    let value = |t: usize| match t {
        _ if t % 24 < 8 => 0.0,
        _ if t % 31 == 5 => f64::NAN,
        _ => 40.0,
    };
    let model = fed((0..480).map(value));
    assert!(model.forecast(4).mean < 1.0 && (model.forecast(12).mean - 40.0).abs() < 2.0);
}

#[test]
fn the_constant_and_the_short_are_what_they_are() {
    assert_eq!(Blend::new(4).forecast(1), Forecast::unsure(0.0));
    assert_eq!(fed([f64::NAN; 40]).forecast(3), Forecast::unsure(0.0));
    assert!((fed([7.0]).forecast(5).mean - 7.0).abs() < 1e-9);
    assert!(fed([7.0]).skill(1).is_none() && !fed([7.0, 8.0]).forecast(1).is_sure());
    let Forecast { mean, low, high } = fed([7.0; 100]).forecast(24);
    assert!((mean - 7.0).abs() < 1e-9 && (low - 7.0).abs() < 1e-9 && (high - 7.0).abs() < 1e-9);
    assert_eq!(fed([0.0; 100]).forecast(9).mean, 0.0);
}

#[test]
fn a_negative_value_ends_logarithms() {
    let model = fed((0..200).map(|t| if t == 150 { -50.0 } else { 10.0 + noise(t) }));
    assert!((model.forecast(1).mean - 10.0).abs() < 5.0);
}

#[test]
fn beyond_its_horizon_it_goes_on() {
    let model = fed((0..300).map(day));
    assert!((model.forecast(100).mean / day(399) - 1.0).abs() < 0.1);
}

#[test]
fn nothing_may_be_asked_for() {
    let mut model = Blend::new(4);
    for value in [1.0, 2.0, 3.0] {
        model.expect(&mut []);
        assert_eq!(model.forecasts(0), []);
        model.observe(value);
    }
}

#[test]
fn a_cycle_is_found_before_it_has_come_three_times_and_worth_something() {
    for period in [12, 24, 96, 288] {
        let value = |t: usize| if t % period < period / 3 { 900.0 } else { 100.0 } * (1.0 + 0.1 * noise(t));
        let model = fed((0..3 * period + 1).map(value));
        assert_eq!(model.seasons().map(|s| s.period), Some(period));
        assert!(model.gain(period.min(24) / 2).unwrap() > 0.3, "{period}: {:?}", model.gain(period.min(24) / 2));
    }
}

#[test]
fn a_known_period_is_taken_at_once_and_given_up_for_one_that_is_plain() {
    let mut model = Blend::with_period(6, 24);
    assert_eq!(model.seasons().map(|s| s.period), Some(24));
    (0..400).for_each(|t| model.observe(noise(t) + 5.0));
    assert_eq!(model.seasons().map(|s| s.period), Some(24));
    let mut model = Blend::with_period(6, 24);
    (0..400).for_each(|t| model.observe([9.0, 1.0, 5.0, 2.0, 7.0][t % 5] + 0.1 * noise(t)));
    assert_eq!(model.seasons().map(|s| s.period), Some(5));
}

#[test]
fn skill_said_is_skill_found() {
    let value = |t: usize| day(t) * (1.0 + 0.3 * noise(t));
    let mut model = fed((0..1_000).map(value));
    let (said, mut naive, mut own) = (model.skill(6).unwrap(), 0.0, 0.0);
    for t in 1_000..1_500 {
        own += (model.forecast(6).mean.ln() - value(t + 5).ln()).abs();
        naive += (value(t + 5 - 24).ln() - value(t + 5).ln()).abs();
        model.observe(value(t));
    }
    assert!((said - (1.0 - own / naive)).abs() < 0.1 && said > 0.1, "{said} {}", 1.0 - own / naive);
}

#[test]
fn what_is_not_remembered_is_not_found() {
    let cycle = |model: Blend| {
        let mut model = model;
        (0..1_500).for_each(|t| model.observe((t as f64 / 300.0 * std::f64::consts::TAU).sin() + 2.0));
        model.seasons()
    };
    assert!(cycle(Blend::new(4)).is_some_and(|s| s.period.abs_diff(300) < 6));
    assert_eq!(cycle(Blend::new(4).remembering(400)), None);
}

#[test]
fn long_zeros_lone_counts_leaps_and_the_largest_numbers_are_survived() {
    type Value = fn(usize) -> f64;
    let series: [(&str, Value, f64); 6] = [
        ("silence after a load", |t| if t < 300 { day(t) } else { 0.0 }, 0.0),
        ("a load after silence", |t| if t < 300 { 0.0 } else { day(t) }, 200.0),
        ("lone counts", |t| if t % 37 == 0 { 1.0 } else { 0.0 }, 0.0),
        ("a hundred times as much", |t| day(t) * if t < 550 { 1.0 } else { 100.0 }, 20_000.0),
        ("another period", |t| if t < 300 { day(t) } else { day(t * 2) }, 200.0),
        ("the largest", |t| 1e300 * (2.0 + noise(t)), 2e100),
    ];
    for (name, value, about) in series {
        let model = fed((0..600).map(value));
        for forecast in model.forecasts(24) {
            let Forecast { mean, low, high } = forecast;
            assert!(mean.is_finite() && low <= mean && mean <= high, "{name}: {forecast:?}");
            assert!(mean >= 0.1 * about - 1.0 && mean <= 10.0 * about + 1.0, "{name}: {forecast:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_series_gives_an_ordered_forecast(
        values: Vec<f64>,
        positive in any::<bool>(),
        horizon in 0usize..70,
        period in proptest::option::of(0usize..40),
    ) {
        let mut model = period.map_or_else(|| Blend::new(horizon), |period| Blend::with_period(horizon, period));
        for value in &values {
            model.observe(if positive { value.abs() } else { *value });
            let f = model.forecast(horizon);
            prop_assert!(f.low <= f.mean && f.mean <= f.high && f.mean.is_finite(), "{:?}", f);
        }
    }

    #[test]
    fn small_counts_are_never_expected_to_be_negative(values in proptest::collection::vec(0u8..4, 0..200)) {
        let model = fed(values.into_iter().map(f64::from));
        for f in model.forecasts(30) {
            prop_assert!(f.mean >= 0.0 && f.low <= f.mean && f.mean <= f.high, "{:?}", f);
        }
    }
}
