//! Writing a job down before it is deleted: a compressed bundle, which `moonlog import` and `moonlog replay` read.

use crate::bundle;
use flate2::{Compression, write::GzEncoder};
use moonlog_core::{log::Log, projection::JobState};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Writes the job into `folder`, where it is in whole and durable when this returns. Gives the file's name.
pub fn export(log: &Log, job: &JobState, folder: &Path) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    let name = name(job);
    let partial = folder.join(format!("{name}.partial"));
    let written = write(log, job, &partial).and_then(|()| fs::rename(&partial, folder.join(&name)));
    if let Err(error) = written {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    Ok(name)
}

/// Takes back what [`export`] wrote.
pub fn take_back(folder: &Path, name: &str) {
    let path: PathBuf = folder.join(name);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, file = %path.display(), "the bundle of a job that was not deleted stays");
    }
}

fn name(job: &JobState) -> String {
    format!("{}.ndjson.gz", job.id)
}

fn write(log: &Log, job: &JobState, path: &Path) -> io::Result<()> {
    // What jobs were given and gave is nobody else's.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = BufWriter::new(GzEncoder::new(file, Compression::default()));
    bundle::write_job(log, job, &mut out)?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    file.sync_all()
}
