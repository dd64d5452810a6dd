use super::*;

fn items(paths: &[&str]) -> Vec<Item> {
    paths.iter().map(|path| Item { file: PathBuf::from(path), path: (*path).to_owned() }).collect()
}

fn outcome(lookup: Lookup<'_>) -> Result<String, String> {
    match lookup {
        Lookup::Found(own) => Ok(own.item.path.clone()),
        Lookup::Not(why) => Err(why),
    }
}

/// Resolves one path.
fn found(paths: &[&str], below: &str, written: &str) -> Result<String, String> {
    let items = items(paths);
    let index = Index::of_slice(&items);
    outcome(Files::of_tree(Path::new("."), below, &index).find(written))
}

/// Resolves the paths of one table.
fn resolved(paths: &[&str], below: &str, written: &[&str]) -> Vec<Option<String>> {
    let items = items(paths);
    let index = Index::of_slice(&items);
    let files = Files::of_tree(Path::new("."), below, &index);
    files.resolve(written.iter().copied()).into_iter().map(|lookup| outcome(lookup).ok()).collect()
}

fn some(paths: &[&str]) -> Vec<Option<String>> {
    paths.iter().map(|path| Some(*path).filter(|path| !path.is_empty()).map(str::to_owned)).collect()
}

#[test]
fn spellings_of_one_path_are_one() {
    for written in ["img/a.jpg", "./img/a.jpg", "img//a.jpg", "img/../img/a.jpg", "img\\a.jpg", ".\\img\\.\\a.jpg"] {
        assert_eq!(Spelling::usual(written), Spelling { text: "img/a.jpg".into(), is_absolute: false }, "{written}");
    }
    assert_eq!(Spelling::usual("../x/a.jpg").text, "../x/a.jpg");
    assert!(Spelling::usual("C:\\data\\a.jpg").is_absolute && Spelling::usual("/data/a.jpg").is_absolute);
}

#[test]
fn paths_of_other_machines_are_matched_by_their_ends_where_that_is_clear() {
    let paths = ["train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg"];
    let find = |written: &str| found(&paths, "", written);
    assert_eq!(find("C:\\Users\\ann\\pets\\train\\dog\\1.jpg").as_deref(), Ok("train/dog/1.jpg"));
    assert_eq!(find("/home/ann/cat/1.jpg").as_deref(), Ok("train/cat/1.jpg"));
    assert_eq!(find("s3://bucket/pets/dog/2.jpg").as_deref(), Ok("train/dog/2.jpg"));
    assert_eq!(find("2.jpg").as_deref(), Ok("train/dog/2.jpg"));
    assert_eq!(find("dog/2").as_deref(), Ok("train/dog/2.jpg"));
    assert_eq!(find("TRAIN/DOG/2.JPG").as_deref(), Ok("train/dog/2.jpg"));
    assert!(find("1.jpg").unwrap_err().contains("train/cat/1.jpg and train/dog/1.jpg"));
    assert!(find("cat/2.jpg").unwrap_err().contains("no such file"));
    assert!(find("3.jpg").is_err());
    // No folder in common.
    assert!(find("/home/ann/2.jpg").unwrap_err().contains("no such file"));
    assert_eq!(found(&["2.jpg"], "", "/home/ann/2.jpg").as_deref(), Ok("2.jpg"));
}

#[test]
fn what_lies_beside_the_table_is_meant_first() {
    let paths = ["train/images/1.jpg", "val/images/1.jpg"];
    assert_eq!(found(&paths, "val", "1.jpg").as_deref(), Ok("val/images/1.jpg"));
    assert_eq!(found(&paths, "val", "images/1.jpg").as_deref(), Ok("val/images/1.jpg"));
    assert_eq!(found(&paths, "val", "train/images/1.jpg").as_deref(), Ok("train/images/1.jpg"));
    assert!(found(&paths, "", "../../etc/passwd").is_err());
}

#[test]
fn a_row_whose_file_is_gone_takes_no_file_that_another_names() {
    // By whole paths, at the table or at the root.
    assert_eq!(resolved(&["sub/1.png"], "", &["1.png", "sub/1.png"]), some(&["", "sub/1.png"]));
    assert_eq!(resolved(&["1.png", "a/2.png"], "a", &["1.png", "2.png"]), some(&["", "a/2.png"]));
    assert_eq!(resolved(&["dog/1.png", "dog/2.png"], "", &["1.png", "dog/2.png"]), some(&["", "dog/2.png"]));
    // By the paths of another machine.
    let old = ["/old/pets/cat/images/1.png", "/old/pets/dog/images/1.png"];
    assert_eq!(resolved(&["x/dog/images/1.png"], "", &old), some(&["", "x/dog/images/1.png"]));
    let old = ["/old/cat/images/1.png", "/old/dog/images/2.png"];
    let files = ["dog/images/1.png", "dog/images/2.png"];
    assert_eq!(resolved(&files, "", &old), some(&["", "dog/images/2.png"]));
    assert_eq!(resolved(&["b/1.png", "a/2.png"], "", &["/old/a/1.png", "/old/a/2.png"]), some(&["", "a/2.png"]));
    // Another case, or no ending, is no other path.
    assert_eq!(
        resolved(&["1.png", "2.PNG", "3.png"], "", &["1.png", "2.png", "3"]),
        some(&["1.png", "2.PNG", "3.png"])
    );
    // Where no row gives a whole path, names are enough.
    assert_eq!(resolved(&["a/1.png", "b/2.png"], "", &["1.png", "2"]), some(&["a/1.png", "b/2.png"]));
    let items = items(&["dog/1.png"]);
    let index = Index::of_slice(&items);
    let files = Files::of_tree(Path::new("."), "", &index);
    let why = files.resolve(["1.png", "dog/1.png"].into_iter()).into_iter().next().map(outcome);
    assert_eq!(why, Some(Err("there is no such file; dog/1.png ends alike, but other lines give whole paths".into())));
}

#[cfg(unix)]
#[test]
fn absolute_paths_into_the_tree_are_whole_paths() {
    let items = items(&["a/1.png", "b/2.png"]);
    let index = Index::of_slice(&items);
    let files = Files::of_tree(Path::new("/data/pets/a"), "a", &index);
    assert_eq!(outcome(files.find("/data/pets/b/2.png")).as_deref(), Ok("b/2.png"));
    let both = files.resolve(["/data/pets/b/1.png", "/data/pets/b/2.png"].into_iter());
    assert_eq!(both.into_iter().map(|own| outcome(own).ok()).collect::<Vec<_>>(), some(&["", "b/2.png"]));
}

#[cfg(unix)]
#[test]
fn a_path_out_of_the_tree_and_in_again_is_a_whole_path() {
    let items = items(&["img/a.png", "b/2.png"]);
    let index = Index::of_slice(&items);
    let files = Files::of_tree(Path::new("/data/pets/b"), "b", &index);
    let found = files.resolve(["../../pets/img/a.png", "2.png", "../../other/img/a.png"].into_iter());
    let found: Vec<_> = found.into_iter().map(|own| outcome(own).ok()).collect();
    assert_eq!(found, some(&["img/a.png", "b/2.png", ""]));
}

#[test]
fn percents_are_decoded_where_no_file_is_named_so() {
    let paths = ["img/a b.png", "img/c%20d.png", "100%.png", "ü.png"];
    assert_eq!(found(&paths, "", "https://ex.com/img/a%20b.png?x=1").as_deref(), Ok("img/a b.png"));
    assert_eq!(found(&paths, "", "img/c%20d.png").as_deref(), Ok("img/c%20d.png"));
    assert_eq!(found(&paths, "", "100%.png").as_deref(), Ok("100%.png"));
    assert_eq!(found(&paths, "", "%C3%BC.png").as_deref(), Ok("ü.png"));
    assert!(found(&paths, "", "%ff%zz%2.png").is_err());
}

#[cfg(unix)]
#[test]
fn a_path_is_first_taken_as_it_is_written() {
    let paths = ["a\\b.png", "a/b.png", "x?d=y.png", "y.png", " z.png", "sub/a\\c.png"];
    for written in ["a\\b.png", "a/b.png", "x?d=y.png", "y.png", " z.png", "sub/a\\c.png"] {
        assert_eq!(found(&paths, "", written).as_deref(), Ok(written));
    }
    assert_eq!(found(&paths, "", "a\\c.png").as_deref(), Ok("sub/a\\c.png"));
    assert_eq!(found(&paths, "", "/data/local-files/?d=a/b.png").as_deref(), Ok("a/b.png"));
}

/// Ranking each row against each file of its name would take hours.
#[test]
fn many_files_of_one_name_are_resolved_at_once() {
    const FILES: usize = 100_000;
    let paths: Vec<String> = (0..FILES).map(|number| format!("set/{number}/rgb/image.png")).collect();
    let items: Vec<Item> = paths.iter().map(|path| Item { file: path.into(), path: path.clone() }).collect();
    let index = Index::of_slice(&items);
    let old = |number: usize| format!("D:\\old\\{number}\\rgb\\image.png");
    let there: Vec<String> = (0..FILES).map(old).collect();
    let files = Files::of_tree(Path::new("."), "set", &index);
    let started = std::time::Instant::now();
    let found = files.resolve(there.iter().map(String::as_str));
    assert!(found.into_iter().zip(&paths).all(|(lookup, path)| outcome(lookup).as_ref() == Ok(path)));
    let gone: Vec<String> = (FILES..2 * FILES).map(old).collect();
    let files = Files::of_tree(Path::new("."), "other", &index);
    let unclear = files.resolve(gone.iter().map(String::as_str));
    assert!(unclear.into_iter().all(|lookup| outcome(lookup).is_err_and(|why| why.contains("not clear"))));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
