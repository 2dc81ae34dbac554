//! `moonlog restore`: a data folder of a backup. It is made beside its place, and put there when all of it is right.

use crate::{
    cli::{
        args::Restore,
        assemble,
        failure::{Failure, Status},
        output,
    },
    config::Config,
};
use flate2::bufread::GzDecoder;
use moonlog_core::{
    log::{self, BackupContent},
    storage::{SledOptions, open_sled},
};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Runs the command.
pub fn run(config: &Config, options: &Restore) -> Result<Status, Failure> {
    let folder = &config.log.folder;
    check_empty(folder)?;
    let unreadable = |error: io::Error| Failure::file("read", &options.file, &error);
    let input: Box<dyn BufRead> = if options.file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(&options.file).map_err(unreadable)?))
    };
    let beside = beside(folder)?;
    let restored = restore(config, input, &beside);
    let placed = restored.and_then(|content| {
        put_in_place(&beside, folder).map_err(|error| Failure::file("put the restored log into", folder, &error))?;
        Ok(content)
    });
    if placed.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    let content = placed.map_err(|failure| match options.file.display().to_string() {
        name if failure.status == Status::Failed => Failure::failed(format!("{name}: {}", failure.message)),
        _ => failure,
    })?;
    if options.format.json {
        output::json(&content)?;
    } else {
        let place = folder.display();
        output::text(&format!(
            "restored the log up to position {} into {place}; its chain is whole",
            content.position
        ))?;
    }
    Ok(Status::Done)
}

/// What is there is never written over.
fn check_empty(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file("look into", folder, &error)),
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::usage(format!(
            "{} has something in it: a backup is restored into a folder that is empty or not there",
            folder.display()
        ))
        .hint("--data DIR names another")),
    }
}

fn beside(folder: &Path) -> Result<PathBuf, Failure> {
    let mut beside = folder.as_os_str().to_owned();
    beside.push(".restoring");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        return Err(Failure::usage(format!(
            "{} is there: another restore is under way, or was cut off",
            beside.display()
        ))
        .hint("remove it where none is"));
    }
    Ok(beside)
}

fn restore(config: &Config, input: Box<dyn BufRead>, folder: &Path) -> Result<BackupContent, Failure> {
    let options = SledOptions { cache_bytes: config.log.cache_bytes, reserve_bytes: config.log.reserve_bytes };
    let storage = open_sled(folder, options).map_err(|error| assemble::not_stored(config, error))?;
    log::restore(GzDecoder::new(input), &*storage).map_err(|error| Failure::failed(error.to_string()))
}

fn put_in_place(beside: &Path, folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(beside, folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
