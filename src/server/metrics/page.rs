//! The text of the series, in the formats that Prometheus reads.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

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
                Samples::Counter(_) => MetricType::Counter,
                Samples::Gauge(_) => MetricType::Gauge,
            };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            match samples {
                Samples::Counter(samples) => each(&mut encoder, samples, |to, value| {
                    to.encode_counter::<NoLabelSet, u64, f64>(value, None)
                })?,
                Samples::Gauge(samples) => {
                    each(&mut encoder, samples, |to, value| to.encode_gauge(value))?;
                }
            }
        }
        Ok(())
    }
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
