//! The log of a bench in a file: its ledger's id, its size and root, then each entry after its length.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chancery_ledger::command::LedgerId;
use chancery_ledger::hash::Hash;

pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) ledger: LedgerId,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

const HEADER_BYTES: usize = 72;

impl LogFile {
    pub(crate) fn open(path: &Path) -> Self {
        let mut header = [0; HEADER_BYTES];
        File::open(path).unwrap().read_exact(&mut header).unwrap();
        Self {
            path: path.into(),
            ledger: LedgerId(Hash::from_slice(&header[..32]).unwrap()),
            size: u64::from_be_bytes(header[32..40].try_into().unwrap()),
            root: Hash::from_slice(&header[40..]).unwrap(),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path).unwrap());
        file.seek_relative(HEADER_BYTES as i64).unwrap();
        (0..self.size).map(move |_| {
            let mut length = [0; 4];
            file.read_exact(&mut length).unwrap();
            let mut entry = vec![0; u32::from_be_bytes(length) as usize];
            file.read_exact(&mut entry).unwrap();
            entry
        })
    }
}

pub(crate) struct LogWriter(BufWriter<File>);

impl LogWriter {
    pub(crate) fn create(path: &Path) -> Self {
        let mut file = BufWriter::new(File::create(path).unwrap());
        file.write_all(&[0; HEADER_BYTES]).unwrap();
        Self(file)
    }

    pub(crate) fn push(&mut self, entry: &[u8]) {
        self.0.write_all(&u32::try_from(entry.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(entry).unwrap();
    }

    pub(crate) fn finish(mut self, ledger: LedgerId, size: u64, root: Hash) {
        self.0.seek(SeekFrom::Start(0)).unwrap();
        let header = [ledger.0.as_bytes().as_slice(), &size.to_be_bytes(), root.as_bytes()].concat();
        self.0.write_all(&header).unwrap();
        self.0.flush().unwrap();
    }
}
