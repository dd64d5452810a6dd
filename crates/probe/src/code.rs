//! The state of the code, through libgit2.

use assay_domain::record::Code;
use git2::{Diff, DiffFormat, DiffOptions, ErrorCode, Repository, Status, StatusOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much is kept of untracked files and patches, and how long looking may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An untracked file of more bytes is listed, not kept.
    pub file_bytes: u64,
    /// All kept files and patches together.
    pub total_bytes: u64,
    /// How many untracked files are listed.
    pub files: usize,
    /// How long all of it may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { file_bytes: 1 << 20, total_bytes: 20 << 20, files: 2_000, time: Duration::from_secs(5) }
    }
}

/// Files that belong to the record, by artifact path.
pub type CodeFiles = Vec<(String, Vec<u8>)>;

/// The state of the code with the files that complete it.
#[derive(Clone, Debug, Default)]
pub struct CodeState {
    /// The facts.
    pub code: Code,
    /// Patches and untracked files.
    pub files: CodeFiles,
}

/// The state of the repository that holds `directory`. Never fails and never takes much longer than `limits.time`:
/// what could not be found out is said in the notes.
pub fn code(directory: &Path, limits: Limits) -> CodeState {
    let (directory_owned, started) = (directory.to_owned(), Instant::now());
    let (send, receive) = std::sync::mpsc::channel();
    // libgit2 cannot be interrupted, so it works on a thread that may be left behind.
    std::thread::spawn(move || {
        let mut state = CodeState::default();
        let basics = look_at_head(&directory_owned, &mut state.code);
        let _ = send.send(state.clone()); // the receiver may have given up
        if let Some(repository) = basics {
            look_at_changes(&repository, limits, started, &mut state);
            let _ = send.send(state);
        }
    });
    let mut latest: Option<CodeState> = None;
    loop {
        let left = limits.time.saturating_sub(started.elapsed());
        match receive.recv_timeout(left) {
            Ok(state) => latest = Some(state),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return latest.unwrap_or_default(),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let mut state = latest.unwrap_or_default();
                let secs = limits.time.as_secs_f64();
                state.code.notes.push(format!("git did not answer within {secs:.0} s: changes are not recorded"));
                return state;
            }
        }
    }
}

/// Repository, commit, branch, remote, submodules; returns the repository when it has a working tree.
fn look_at_head(directory: &Path, code: &mut Code) -> Option<Repository> {
    let repository = match Repository::discover(directory) {
        Ok(repository) => repository,
        Err(error) if error.code() == ErrorCode::NotFound => {
            code.notes.push("not in a git repository".into());
            return None;
        }
        Err(error) => {
            code.notes.push(format!("the git repository cannot be opened: {}", error.message()));
            return None;
        }
    };
    let top = repository.workdir().unwrap_or(repository.path());
    code.repository = Some(top.display().to_string());
    match repository.head().and_then(|head| head.peel_to_commit()) {
        Ok(commit) => {
            code.commit = Some(commit.id().to_string());
            code.summary = commit.summary_bytes().map(|summary| String::from_utf8_lossy(summary).into_owned());
        }
        Err(error) if error.code() == ErrorCode::UnbornBranch => {
            code.notes.push("the repository has no commit yet".into())
        }
        Err(error) => code.notes.push(format!("the commit cannot be read: {}", error.message())),
    }
    if repository.head_detached().unwrap_or(false) {
        code.notes.push("detached head".into());
    } else if let Ok(head) = repository.find_reference("HEAD") {
        let target = head.symbolic_target_bytes().map(|target| String::from_utf8_lossy(target).into_owned());
        code.branch = target.map(|target| target.trim_start_matches("refs/heads/").to_owned());
    }
    if let Ok(origin) = repository.find_remote("origin") {
        code.remote = Some(without_credentials(&String::from_utf8_lossy(origin.url_bytes())));
    }
    if repository.is_bare() {
        code.notes.push("a bare repository: there are no files to compare".into());
        return None;
    }
    for module in repository.submodules().unwrap_or_default() {
        let commit =
            module.workdir_id().or(module.head_id()).map_or_else(|| "not checked out".into(), |id| id.to_string());
        code.submodules.push((module.path().display().to_string(), commit));
    }
    Some(repository)
}

fn look_at_changes(repository: &Repository, limits: Limits, started: Instant, state: &mut CodeState) {
    let mut kept = 0;
    state.code.is_compared = true;
    let tree = repository.head().ok().and_then(|head| head.peel_to_tree().ok());
    let mut options = DiffOptions::new();
    options.ignore_submodules(true);
    let staged = repository.diff_tree_to_index(tree.as_ref(), None, Some(&mut options));
    let unstaged = repository.diff_index_to_workdir(None, Some(&mut options));
    for (what, diff) in [("staged", staged), ("unstaged", unstaged)] {
        let diff = match diff {
            Ok(diff) => diff,
            Err(error) => {
                state.code.is_compared = false;
                state.code.notes.push(format!("{what} changes cannot be read: {}", error.message()));
                continue;
            }
        };
        let paths = diff.deltas().filter_map(|delta| {
            delta.new_file().path().or(delta.old_file().path()).map(|path| path.display().to_string())
        });
        let paths: Vec<String> = paths.collect();
        if paths.is_empty() {
            continue;
        }
        state.code.dirty = true;
        match patch(&diff, limits.total_bytes - kept) {
            Some(patch) => {
                kept += patch.len() as u64;
                state.files.push((format!("code/{what}.patch"), patch));
            }
            None => state.code.left_out.push(format!("the {what} patch: larger than {} bytes", limits.total_bytes)),
        }
        match what {
            "staged" => state.code.staged = paths,
            _ => state.code.unstaged = paths,
        }
    }
    look_at_untracked(repository, limits, started, kept, state);
}

fn look_at_untracked(repository: &Repository, limits: Limits, started: Instant, mut kept: u64, state: &mut CodeState) {
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(false).include_ignored(false).exclude_submodules(true);
    let Some(top) = repository.workdir() else { return };
    let statuses = match repository.statuses(Some(&mut options)) {
        Ok(statuses) => statuses,
        Err(error) => {
            state.code.is_compared = false;
            return state.code.notes.push(format!("untracked files cannot be listed: {}", error.message()));
        }
    };
    let mut seen = 0;
    for entry in statuses.iter().filter(|entry| entry.status().contains(Status::WT_NEW)) {
        let path = String::from_utf8_lossy(entry.path_bytes()).into_owned();
        let mut waiting = vec![top.join(path.trim_end_matches('/'))];
        while let Some(file) = waiting.pop() {
            if seen >= limits.files || started.elapsed() > limits.time.mul_f64(0.8) {
                state.code.left_out.push(format!("the rest of the untracked files from {path}: too many to list"));
                return;
            }
            let name = file.strip_prefix(top).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            match std::fs::symlink_metadata(&file) {
                Ok(facts) if facts.is_dir() => {
                    if repository.is_path_ignored(&file).unwrap_or(false) || name.ends_with(".assay") {
                        continue;
                    }
                    let entries = std::fs::read_dir(&file).into_iter().flatten().filter_map(Result::ok);
                    waiting.extend(entries.take(limits.files + 1).map(|entry| entry.path()));
                }
                Ok(facts) if facts.is_file() => {
                    if repository.is_path_ignored(&file).unwrap_or(false) {
                        continue;
                    }
                    seen += 1;
                    state.code.dirty = true;
                    let fits = facts.len() <= limits.file_bytes && kept + facts.len() <= limits.total_bytes;
                    match fits.then(|| std::fs::read(&file)) {
                        Some(Ok(contents)) => {
                            kept += contents.len() as u64;
                            state.files.push((format!("code/untracked/{name}"), contents));
                            state.code.untracked.push(name);
                        }
                        Some(Err(why)) => state.code.left_out.push(format!("{name}: {why}")),
                        None => state.code.left_out.push(format!("{name}: {} bytes", facts.len())),
                    }
                }
                _ => state.code.left_out.push(format!("{name}: not a plain file")),
            }
        }
    }
}

/// The patch as text; `None` when it has more than `most` bytes.
fn patch(diff: &Diff<'_>, most: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let printed = diff.print(DiffFormat::Patch, |_, _, line| {
        if matches!(line.origin(), '+' | '-' | ' ') {
            text.push(line.origin() as u8);
        }
        text.extend_from_slice(line.content());
        text.len() as u64 <= most
    });
    printed.ok().map(|()| text)
}

/// A remote's address without user name, password or token.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            let path = path.split(['?', '#']).next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(), // user@host:path holds no secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Signature;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn commit(repository: &Repository) -> git2::Oid {
        let mut index = repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::now("A", "a@example.com").unwrap();
        repository.commit(Some("HEAD"), &who, &who, "first\n\nbody", &tree, &[]).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_recorded() {
        let root = tempfile::tempdir().unwrap();
        let repository = Repository::init(root.path()).unwrap();
        write(root.path(), "a.py", "one\n");
        write(root.path(), "b.py", "one\n");
        write(root.path(), ".gitignore", "data/\n");
        let id = commit(&repository);
        repository.remote("origin", "https://user:secret@example.com/team/repo.git?token=x").unwrap();
        write(root.path(), "a.py", "two\n");
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("a.py")).unwrap();
        index.write().unwrap();
        write(root.path(), "b.py", "three\n");
        write(root.path(), "new/train.py", "print()\n");
        write(root.path(), "new/large.bin", &"x".repeat(2000));
        write(root.path(), "data/ignored.png", "x");
        let state = code(&root.path().join("new"), Limits { file_bytes: 1000, ..Limits::default() });
        let seen = &state.code;
        assert_eq!(seen.commit.as_deref(), Some(id.to_string().as_str()));
        assert_eq!(seen.summary.as_deref(), Some("first"));
        assert_eq!(seen.remote.as_deref(), Some("https://example.com/team/repo.git"));
        assert_eq!(
            (seen.staged.as_slice(), seen.unstaged.as_slice()),
            (&["a.py".to_owned()][..], &["b.py".to_owned()][..])
        );
        assert_eq!(seen.untracked, ["new/train.py"]);
        assert_eq!(seen.left_out, ["new/large.bin: 2000 bytes"]);
        assert!(seen.dirty && seen.branch.is_some());
        let file = |name: &str| {
            state.files.iter().find(|(path, _)| path == name).map(|(_, text)| String::from_utf8_lossy(text))
        };
        assert!(file("code/staged.patch").unwrap().contains("+two"));
        assert!(file("code/unstaged.patch").unwrap().contains("+three"));
        assert_eq!(file("code/untracked/new/train.py").unwrap(), "print()\n");
    }

    #[test]
    fn odd_repositories_are_described() {
        let root = tempfile::tempdir().unwrap();
        let nothing = code(root.path(), Limits::default()).code;
        assert!(nothing.notes[0].contains("not in a git repository") && nothing.commit.is_none());
        assert_eq!(nothing.changes(), "no repository");

        let unborn = Repository::init(root.path().join("unborn")).unwrap();
        write(root.path(), "unborn/x.py", "x");
        let seen = code(&root.path().join("unborn"), Limits::default()).code;
        assert!(seen.commit.is_none() && seen.branch.is_some() && seen.untracked == ["x.py"]);
        assert!(seen.notes.iter().any(|note| note.contains("no commit yet")));

        let id = commit(&unborn);
        unborn.set_head_detached(id).unwrap();
        let seen = code(&root.path().join("unborn"), Limits::default()).code;
        assert!(
            seen.branch.is_none()
                && !seen.dirty
                && seen.is_compared
                && seen.notes.contains(&"detached head".to_owned())
        );

        Repository::init_bare(root.path().join("bare")).unwrap();
        let seen = code(&root.path().join("bare"), Limits::default()).code;
        assert!(seen.notes.iter().any(|note| note.contains("bare")) && !seen.is_compared);
    }

    #[test]
    fn a_huge_untracked_folder_is_cut_off_and_said_so() {
        let root = tempfile::tempdir().unwrap();
        Repository::init(root.path()).unwrap();
        for number in 0..300 {
            write(root.path(), &format!("images/{number}.txt"), "x");
        }
        let seen = code(root.path(), Limits { files: 50, ..Limits::default() }).code;
        assert_eq!(seen.untracked.len(), 50);
        assert!(seen.left_out[0].contains("too many"), "{:?}", seen.left_out);
    }
}
