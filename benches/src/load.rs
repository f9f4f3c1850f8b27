//! Load: closed-loop, where each caller waits for its answer before it asks again, and open-loop, where operations
//! begin when they were to begin, whatever became of those before.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fault::{BenchError, Result};
use crate::processes::{machine_cpu, own_cpu};

/// Before anything counts: connections are made, caches filled, batches of their size.
const WARM_UP: Duration = Duration::from_millis(700);

/// Operations under way at once in open-loop load. What is to begin beyond waits, and its latency counts from when it
/// was to begin.
const UNDER_WAY_MAX: usize = 8_192;

/// How long the last operations of an open loop are waited for.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// A caller whose operation failed waits so long.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Longest latency that is told apart, in nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// One part in so many operations that may fail; beyond it there is no figure.
const FAILED_PART_MAX: u64 = 1_000;

/// What is done over and over. `caller` says which of the callers, and so over which connection.
pub(crate) trait Operation: Send + Sync + 'static {
    /// Does it once.
    fn once(&self, caller: usize) -> impl Future<Output = std::result::Result<(), String>> + Send;

    /// How many operations that is: several, where they are asked for together. Latencies are of all of them.
    fn size(&self) -> u64 {
        1
    }
}

/// What one run of one measurement came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Operations that ended in the time.
    pub(crate) operations: u64,
    /// The time, in seconds.
    pub(crate) seconds: f64,
    /// Operations a second.
    pub(crate) per_second: f64,
    /// CPU time of all nodes for one operation, in microseconds.
    pub(crate) node_cpu_us: f64,
    /// CPU time of this process, the client, for one operation, in microseconds.
    pub(crate) client_cpu_us: f64,
    /// Part of the machine's processors that had other work: what disturbed the figures.
    pub(crate) other_cpu: f64,
    /// Latencies.
    pub(crate) latency: Latency,
    /// Operations that failed.
    pub(crate) failed: u64,
}

/// Latencies, in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// For the plot: parts of a hundred, and microseconds.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// CPU times at one moment.
struct Times {
    at: Instant,
    nodes: Duration,
    own: Duration,
    machine: Duration,
    done: u64,
}

/// How much is measured, of what.
pub(crate) struct Measured<'a> {
    /// For messages.
    pub(crate) what: &'a str,
    /// CPU time of all nodes until now.
    pub(crate) nodes_cpu: &'a (dyn Fn() -> Duration + Sync),
    /// For how long, after the warm-up.
    pub(crate) time: Duration,
}

#[derive(Default)]
struct Counted {
    done: AtomicU64,
    failed: AtomicU64,
    counts: AtomicBool,
    first: Mutex<Option<String>>,
}

impl Counted {
    fn count(&self, size: u64, ended: std::result::Result<(), String>) -> bool {
        match ended {
            Ok(()) => {
                self.done.fetch_add(size, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.failed.fetch_add(size, Ordering::Relaxed);
                self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                false
            }
        }
    }

    fn times(&self, measured: &Measured<'_>) -> Times {
        Times {
            nodes: (measured.nodes_cpu)(),
            own: own_cpu(),
            machine: machine_cpu(),
            done: self.done.load(Ordering::Relaxed),
            at: Instant::now(),
        }
    }
}

/// `callers` ask over and over.
pub(crate) async fn closed<O: Operation>(
    operation: &Arc<O>,
    callers: usize,
    measured: Measured<'_>,
) -> Result<Sample> {
    let counted = Arc::new(Counted::default());
    let ends = Instant::now() + WARM_UP + measured.time;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (operation, counted) = (Arc::clone(operation), Arc::clone(&counted));
        tasks.spawn(async move {
            let mut latencies = histogram();
            while Instant::now() < ends {
                let (began, counts) = (Instant::now(), counted.counts.load(Ordering::Relaxed));
                let ended = operation.once(caller).await;
                let took = began.elapsed();
                match counted.count(operation.size(), ended) {
                    true if counts => record(&mut latencies, took),
                    true => {}
                    false => tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
            latencies
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let before = counted.times(&measured);
    counted.counts.store(true, Ordering::Relaxed);
    tokio::time::sleep_until(ends.into()).await;
    let after = counted.times(&measured);
    let mut latencies = histogram();
    while let Some(ended) = tasks.join_next().await {
        let one = ended.map_err(BenchError::of("load"))?;
        latencies.add(&one).map_err(BenchError::of("load"))?;
    }
    sample(&measured, &counted, &latencies, (&before, &after))
}

/// `per_second` operations begin each second, at equal distances.
pub(crate) async fn open<O: Operation>(
    operation: &Arc<O>,
    callers: usize,
    per_second: f64,
    measured: Measured<'_>,
) -> Result<Sample> {
    let counted = Arc::new(Counted::default());
    let latencies = Arc::new(Mutex::new(histogram()));
    let apart = Duration::from_secs_f64(1.0 / per_second.max(1.0));
    let (begins, lasts) = (Instant::now(), WARM_UP + measured.time);
    let pacing = Pacing { begins, apart, lasts, callers };
    let (runtime, shared) =
        (Handle::current(), (Arc::clone(operation), Arc::clone(&counted), Arc::clone(&latencies)));
    // A thread of its own: the runtime's timers are as coarse as a millisecond.
    let pacer = std::thread::spawn(move || {
        let (operation, counted, latencies) = shared;
        pacing.run(&runtime, move |caller, intended| {
            let (operation, counted, latencies) =
                (Arc::clone(&operation), Arc::clone(&counted), Arc::clone(&latencies));
            async move {
                let ended = operation.once(caller).await;
                let took = intended.elapsed();
                if counted.count(operation.size(), ended)
                    && intended.saturating_duration_since(begins) >= WARM_UP
                {
                    record(&mut latencies.lock().unwrap_or_else(PoisonError::into_inner), took);
                }
            }
        })
    });
    tokio::time::sleep_until((begins + WARM_UP).into()).await;
    let before = counted.times(&measured);
    tokio::time::sleep_until((begins + lasts).into()).await;
    let after = counted.times(&measured);
    let places = tokio::task::spawn_blocking(move || pacer.join())
        .await
        .map_err(BenchError::of("load"))?
        .map_err(|_| BenchError::of("load")("the pacer stopped"))?;
    // All places are free again once the last operation has ended.
    let all = u32::try_from(UNDER_WAY_MAX).unwrap_or(u32::MAX);
    let ended = tokio::time::timeout(LAST_TIMEOUT, places.acquire_many(all)).await;
    let _places = ended.map_err(|_| BenchError::of("load")("the last operations do not end"))?;
    let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
    sample(&measured, &counted, &latencies, (&before, &after))
}

struct Pacing {
    begins: Instant,
    apart: Duration,
    lasts: Duration,
    callers: usize,
}

impl Pacing {
    /// Begins each operation when it is to begin, or at once if that has passed.
    fn run<F: Future<Output = ()> + Send + 'static>(
        &self,
        runtime: &Handle,
        begin: impl Fn(usize, Instant) -> F,
    ) -> Arc<Semaphore> {
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut intended = self.begins;
        let mut number = 0_usize;
        while intended.saturating_duration_since(self.begins) < self.lasts {
            std::thread::sleep(intended.saturating_duration_since(Instant::now()));
            // It waits here if too many are under way; their intended beginnings go on.
            let Ok(place) = runtime.block_on(Arc::clone(&places).acquire_owned()) else { break };
            let operation = begin(number % self.callers, intended);
            runtime.spawn(async move {
                operation.await;
                drop(place);
            });
            number += 1;
            intended += self.apart;
        }
        places
    }
}

fn sample(
    measured: &Measured<'_>,
    counted: &Counted,
    latencies: &Histogram<u64>,
    (before, after): (&Times, &Times),
) -> Result<Sample> {
    let (done, failed) = (counted.done.load(Ordering::Relaxed), counted.failed.load(Ordering::Relaxed));
    let operations = after.done - before.done;
    if failed * FAILED_PART_MAX > done + failed || operations == 0 {
        let first = counted.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        return Err(BenchError::Operations {
            what: measured.what.into(),
            failed,
            all: done + failed,
            first: first.unwrap_or_else(|| "none ended".into()),
        });
    }
    let seconds = (after.at - before.at).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = operations as f64;
    let each = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / count;
    let of = |times: &Times| times.nodes + times.own;
    let ours = of(after).saturating_sub(of(before)).as_secs_f64();
    let machine = after.machine.saturating_sub(before.machine).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a few processors")]
    let processors = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    Ok(Sample {
        operations,
        seconds,
        per_second: count / seconds,
        node_cpu_us: each(after.nodes, before.nodes),
        client_cpu_us: each(after.own, before.own),
        other_cpu: ((machine - ours) / seconds / processors).max(0.0),
        latency: Latency::of(latencies),
        failed,
    })
}

impl Latency {
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of less than a minute")]
    fn of(latencies: &Histogram<u64>) -> Self {
        let at = |part: f64| latencies.value_at_quantile(part) as f64 / 1e3;
        let parts = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: latencies.max() as f64 / 1e3,
            curve: parts.iter().map(|part| (part * 100.0, at(*part))).collect(),
        }
    }
}

/// Three significant digits, up to a minute.
fn histogram() -> Histogram<u64> {
    // INVARIANT: the bounds are valid ones.
    Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3).unwrap_or_else(|_| unreachable!())
}

fn record(latencies: &mut Histogram<u64>, took: Duration) {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(LATENCY_NS_MAX);
    latencies.saturating_record(nanoseconds);
}
