//! The text of the series, in the formats that Prometheus reads.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::counters::{BOUNDS, Observed};

/// Families of series, each with its samples.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<Family>);

/// The labels of a sample.
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;

#[derive(Debug)]
struct Family {
    /// Without the suffix `_total` of a counter.
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counter(Vec<(Labels, u64)>),
    Seconds(f64),
    Histogram(Vec<(Labels, Observed)>),
    Gauge(Vec<(Labels, f64)>),
}

impl Page {
    /// Adds a counter. Its name gets the suffix `_total`.
    pub(super) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = Samples::Counter(samples.into_iter().collect());
        self.0.push(Family { name, help, samples });
    }

    /// Adds a counter without labels.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, [(Vec::new(), value)]);
    }

    /// Adds a counter of seconds, without labels.
    pub(super) fn seconds(&mut self, name: &'static str, help: &'static str, value: Duration) {
        self.0.push(Family { name, help, samples: Samples::Seconds(value.as_secs_f64()) });
    }

    /// Adds a histogram.
    pub(super) fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Observed)>,
    ) {
        let samples = Samples::Histogram(samples.into_iter().collect());
        self.0.push(Family { name, help, samples });
    }

    /// Adds a histogram without labels.
    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str, value: Observed) {
        self.histograms(name, help, [(Vec::new(), value)]);
    }

    /// Adds a gauge.
    pub(super) fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let samples = Samples::Gauge(samples.into_iter().collect());
        self.0.push(Family { name, help, samples });
    }

    /// Adds a gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Into<f64>) {
        self.gauges(name, help, [(Vec::new(), value.into())]);
    }

    /// The text of `OpenMetrics` 1.0.
    pub(super) fn open_metrics(self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry()).map(|()| text)
    }

    /// The text format of Prometheus 0.0.4.
    pub(super) fn prometheus(self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry()).map(|()| text)
    }

    fn registry(self) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        registry
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, samples } in &self.0 {
            let kind = match samples {
                Samples::Counter(_) | Samples::Seconds(_) => MetricType::Counter,
                Samples::Histogram(_) => MetricType::Histogram,
                Samples::Gauge(_) => MetricType::Gauge,
            };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            match samples {
                Samples::Counter(samples) => each(&mut encoder, samples, |to, value| {
                    to.encode_counter::<NoLabelSet, u64, f64>(value, None)
                })?,
                Samples::Seconds(value) => {
                    encoder.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
                }
                Samples::Histogram(samples) => each(&mut encoder, samples, |to, observed| {
                    let sum = observed.sum.as_secs_f64();
                    to.encode_histogram::<NoLabelSet>(sum, observed.count, &buckets(observed), None)
                })?,
                Samples::Gauge(samples) => {
                    each(&mut encoder, samples, |to, value| to.encode_gauge(value))?;
                }
            }
        }
        Ok(())
    }
}

/// The upper bounds in seconds, each with the number of what is above the one before it.
fn buckets(observed: &Observed) -> Vec<(f64, u64)> {
    let bounds = BOUNDS.into_iter().map(|bound| Duration::from_micros(bound).as_secs_f64());
    let longer = observed.count.saturating_sub(observed.buckets.iter().sum());
    bounds.zip(observed.buckets).chain([(f64::INFINITY, longer)]).collect()
}

fn each<T>(
    encoder: &mut MetricEncoder<'_>,
    samples: &[(Labels, T)],
    mut encode: impl FnMut(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    samples.iter().try_for_each(|(labels, value)| match labels.is_empty() {
        true => encode(encoder, value),
        false => encode(&mut encoder.encode_family(labels)?, value),
    })
}
