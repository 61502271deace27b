use super::cost::REFERENCE;
use super::report::Report;

/// Maximum number of bytes on the heap per idle open stream.
const IDLE_BYTES: f64 = 4_096.0;
/// Growth of the cost per record each time that the number of streams doubles, as a fraction of the cost with
/// [`REFERENCE`] streams. Most of it is due to CPU caches: the number of instructions grows by 0.01 to 0.02.
const GROWTH_PER_DOUBLING: f64 = 0.3;

/// Returns a message for each bound that the figures exceed.
pub fn violations(report: &Report) -> Vec<String> {
    let mut violations = Vec::new();
    for (load, costs) in &report.costs {
        for cost in costs.iter().filter(|cost| cost.streams > REFERENCE) {
            let doublings = (cost.streams as f64 / REFERENCE as f64).log2();
            let bound = 1.0 + GROWTH_PER_DOUBLING * doublings;
            if cost.growth > bound {
                violations.push(format!(
                    "cost per record with {} streams ({}): {:.2} times the cost with {REFERENCE} streams, more than \
                     1 + {GROWTH_PER_DOUBLING} * log2({}) = {bound:.2}",
                    cost.streams,
                    load.name,
                    cost.growth,
                    cost.streams / REFERENCE,
                ));
            }
        }
    }
    for memory in report.memory.iter().filter(|memory| memory.idle > IDLE_BYTES) {
        violations.push(format!(
            "memory per idle stream with {} streams (metrics: {}): {:.0} bytes, more than {IDLE_BYTES}",
            memory.streams, memory.metrics, memory.idle,
        ));
    }
    // The number of levels of the timer wheel at which a timer expires depends on the time.
    if let [one, many] = &report.idle[..]
        && many.timers as f64 > 1.1 * one.timers as f64
    {
        violations.push(format!(
            "timers in an hour with {} idle streams: {}, more than {} with {}",
            many.streams, many.timers, one.timers, one.streams,
        ));
    }
    violations
}
