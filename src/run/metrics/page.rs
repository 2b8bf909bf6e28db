//! One page of metrics, family by family, through a registry that lives for one scrape.

use prometheus::core::Collector;
use prometheus::{CounterVec, Error, GaugeVec, Opts, Registry, TextEncoder};

/// A page under construction.
#[derive(Default)]
pub(super) struct Page {
    registry: Registry,
}

impl Page {
    /// One value that goes up and down.
    pub(super) fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.gauges(name, help, &[], [([], value)])
    }

    /// The constant 1, for its labels.
    pub(super) fn info<const N: usize>(&self, name: &str, help: &str, labels: &[&str; N], values: [&String; N]) -> Result<(), Error> {
        self.gauges(name, help, labels, [(values.map(String::as_str), 1.0)])
    }

    /// A value for each combination of labels; values that are not numbers are left out.
    pub(super) fn gauges<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> Result<(), Error> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        for (values, value) in rows.into_iter().filter(|(_, value)| !value.is_nan()) {
            family.get_metric_with_label_values(&values)?.set(value);
        }
        self.register(family)
    }

    /// One count.
    pub(super) fn counter(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.counters(name, help, &[], [([], value)])
    }

    /// A count for each combination of labels; the same labels again are summed.
    pub(super) fn counters<'a, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str; N],
        rows: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> Result<(), Error> {
        let family = CounterVec::new(Opts::new(name, help), labels)?;
        for (values, value) in rows {
            // A counter cannot hold a negative number; NaN becomes 0.
            family.get_metric_with_label_values(&values)?.inc_by(value.max(0.0));
        }
        self.register(family)
    }

    fn register(&self, family: impl Collector + 'static) -> Result<(), Error> {
        self.registry.register(Box::new(family))
    }

    /// The finished page.
    pub(super) fn text(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
