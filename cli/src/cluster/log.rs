//! A child's output, kept in files of bounded size.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Size at which a log moves aside: there are two of them at most.
const LOG_SIZE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Copies `from` to `path` until it ends. What cannot be written is dropped: a full disk must not stop the
/// node by stopping its log.
pub(super) async fn keep(mut from: impl AsyncRead + Unpin, path: PathBuf) {
    let mut file: Option<File> = None;
    let mut size_bytes: u64 = 0;
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { break };
        if file.is_none() || size_bytes > LOG_SIZE_BYTES_MAX {
            // There may be none yet.
            let _ = tokio::fs::rename(&path, path.with_extension("log.1")).await;
            file = File::create(&path).await.ok();
            size_bytes = 0;
        }
        if let Some(file) = &mut file {
            let _ = file.write_all(chunk).await;
            let _ = file.flush().await;
        }
        size_bytes = size_bytes.saturating_add(count as u64);
    }
}

/// The last lines of a log.
pub(super) fn last_lines(path: &Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines.into_iter().skip(skipped).map(|line| format!("  {line}\n")).collect()
}
