//! One proxied connection: two directions, each with its own weather.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::weather::{Passage, Weather};
use crate::seed::Choices;

/// What is read at once, in bytes.
const CHUNK_SIZE_BYTES: usize = 16 * 1024;

/// Chunks on their way in one direction; beyond them the sender feels it.
const CHUNKS_MAX: usize = 64;

/// One direction: its weather, and a count of the chunks that it did something to.
pub(super) struct Direction<'a> {
    pub(super) weather: watch::Receiver<Weather>,
    pub(super) felt: &'a AtomicU64,
    pub(super) choices: Choices,
}

/// Carries bytes both ways until both ends are done, one fails, or the link is reset.
pub(super) async fn carry(
    mut caller: TcpStream,
    mut called: TcpStream,
    there: Direction<'_>,
    back: Direction<'_>,
) {
    let (mut reset_there, mut reset_back) = (there.weather.clone(), back.weather.clone());
    let felt = there.felt;
    let reset = {
        let (from_caller, to_caller) = caller.split();
        let (from_called, to_called) = called.split();
        let both = async {
            tokio::try_join!(pump(from_caller, to_called, there), pump(from_called, to_caller, back))
        };
        tokio::select! {
            _ = both => false,
            _ = reset_there.wait_for(|weather| weather.passage == Passage::Reset) => true,
            _ = reset_back.wait_for(|weather| weather.passage == Passage::Reset) => true,
        }
    };
    if reset {
        felt.fetch_add(1, Ordering::Relaxed);
        // RST instead of FIN. If it cannot be had, the end comes as a FIN.
        let _ = caller.set_zero_linger();
        let _ = called.set_zero_linger();
    }
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction<'_>) -> io::Result<()> {
    let Direction { mut weather, felt, mut choices } = direction;
    let (on_their_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let now_weather = weather.clone();
    let read = async move {
        let mut due = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK_SIZE_BYTES];
            let size_bytes = from.read(&mut chunk).await?;
            chunk.truncate(size_bytes);
            let weather = *now_weather.borrow();
            let late = lateness(weather, &mut choices);
            if !late.is_zero() {
                felt.fetch_add(1, Ordering::Relaxed);
            }
            // In order, as TCP delivers.
            due = due.max(Instant::now() + late);
            if on_their_way.send((due, chunk)).await.is_err() || size_bytes == 0 {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = arriving.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let limit = {
                let now = *weather.borrow();
                if now.passage != Passage::Open || now.bytes_per_second.is_some() {
                    felt.fetch_add(1, Ordering::Relaxed);
                }
                now.bytes_per_second
            };
            if weather.wait_for(|weather| weather.passage == Passage::Open).await.is_err() {
                return Ok(());
            }
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            if let Some(limit) = limit {
                let size_bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                sleep(Duration::from_micros(size_bytes.saturating_mul(1_000_000) / limit.max(1))).await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}

fn lateness(weather: Weather, choices: &mut Choices) -> Duration {
    let jitter_us = u64::try_from(weather.jitter.as_micros()).unwrap_or(u64::MAX);
    let mut late =
        weather.delay + Duration::from_micros(if jitter_us == 0 { 0 } else { choices.between(0, jitter_us) });
    if weather.stalls_per_mille > 0 && choices.chance(weather.stalls_per_mille) {
        late += weather.stall;
    }
    late
}
