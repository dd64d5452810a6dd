//! Orders, weights and unusable samples.

use super::*;

/// Nine samples of class 0, one of class 1; sample 3 is uniformly 3.
struct Few;

impl Samples for Few {
    fn count(&self) -> usize {
        10
    }

    fn classes(&self, index: usize) -> &[u32] {
        if index == 9 { &[1] } else { &[0] }
    }

    fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        see(&vec![index as u8; side * side * 3]);
        Ok(())
    }
}

fn config(overrides: &[&str]) -> Config {
    let all = [&["train.batch_size=4", "augment.shift=0"], overrides].concat();
    Config::resolve("", &all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn batches(plan: &Plan) -> Vec<Batch> {
    let samples: Arc<dyn Samples> = Arc::new(Few);
    Loader::start(&samples, plan, 0, &Uploads::to(&Device::Cpu)).collect::<Result<_>>().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_balanced_sampler_draws_as_many_of_each_class() {
    let rare: usize = (0..50)
        .map(|epoch| {
            let plan = Plan::train(&config(&["train.sampler=balanced"]), 8, 2, epoch);
            batches(&plan).iter().flat_map(|batch| batch.labels.clone()).filter(|own| *own == [1]).count()
        })
        .sum();
    assert!((200..300).contains(&rare), "{rare} of 500");
}

#[test]
fn balanced_classes_count_the_same_together() {
    let weights = balanced(&Few, 3);
    assert!((weights[0] - 10.0 / 18.0).abs() < 1e-6 && (weights[1] - 5.0).abs() < 1e-6);
    let plan = Plan::train(&config(&["train.batch_size=10"]), 8, 2, 0).weighing(Some(weights));
    let batch = batches(&plan).remove(0);
    let weights = values(&batch.targets[0].weights);
    let rare = batch.labels.iter().position(|own| *own == [1]).unwrap();
    assert!((weights[rare] - 0.5).abs() < 1e-6 && (weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert_eq!(balanced_positives(&Few, 3), [1.0 / 9.0, 9.0, 1.0]);
}

#[test]
fn sets_of_classes_are_rows_of_a_table() {
    let labels = [vec![0, 2], vec![], vec![1]];
    let table = Form::Sets { classes: 3 }.tensor(&labels, &Device::Cpu).unwrap();
    assert_eq!(values(&table), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let why = Form::Classes.tensor(&labels, &Device::Cpu).unwrap_err().to_string();
    assert!(why.contains("2 classes"), "{why}");
}

#[test]
fn mixed_images_have_the_targets_of_both() {
    let plan = Plan::train(&config(&["augment.mixup=1", "data.std=[1,1,1]", "data.mean=[0,0,0]"]), 8, 2, 3);
    for batch in batches(&plan) {
        let [own, partner] = batch.targets.as_slice() else { panic!("two targets") };
        let count = batch.labels.len();
        let shares = [values(&own.weights)[0], values(&partner.weights)[0]].map(|weight| weight * count as f32);
        assert!((shares[0] + shares[1] - 1.0).abs() < 1e-6);
        let labels = batch.labels.concat();
        assert_eq!(own.labels.to_vec1::<u32>().unwrap(), labels);
        let reversed: Vec<u32> = labels.into_iter().rev().collect();
        assert_eq!(partner.labels.to_vec1::<u32>().unwrap(), reversed);
        // An image and its partner have complementary weights, so their sum is preserved.
        let input = values(&batch.input);
        let (first, last) = (input[0] * 255.0, input[input.len() - 1] * 255.0);
        assert!((first + last - (first + last).round()).abs() < 1e-3, "{first} {last}");
    }
}

#[test]
fn features_come_instead_of_images() {
    let row = |index: usize| Some([2.0 * index as f32, 2.0 * index as f32 + 1.0].into());
    let features = Features { width: 2, values: (0..10).map(row).collect() };
    let plan = Plan::train(&config(&[]), 8, 2, 0).seeing(Some(Arc::new(features)));
    for batch in batches(&plan) {
        assert_eq!((batch.of, batch.input.dims()[1]), (Of::Features, 2));
        for row in batch.input.to_vec2::<f32>().unwrap() {
            assert_eq!(row[1], row[0] + 1.0);
        }
    }
}

/// Ten samples of classes 0 to 9, some unusable.
struct Damaged(&'static [usize]);

impl Samples for Damaged {
    fn count(&self) -> usize {
        10
    }

    fn classes(&self, index: usize) -> &[u32] {
        &[[0], [1], [2], [3], [4], [5], [6], [7], [8], [9]][index]
    }

    fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        match self.0.contains(&index) {
            true => Err(format!("{index} is damaged")),
            false => {
                see(&vec![index as u8; side * side * 3]);
                Ok(())
            }
        }
    }
}

fn shown(damaged: &'static [usize], plan: &Plan) -> Result<Vec<usize>> {
    let samples: Arc<dyn Samples> = Arc::new(Damaged(damaged));
    let batches = Loader::start(&samples, plan, 0, &Uploads::to(&Device::Cpu)).collect::<Result<Vec<Batch>>>()?;
    for batch in &batches {
        let labels: Vec<usize> = batch.labels.iter().map(|own| own[0] as usize).collect();
        assert_eq!((batch.input.dims()[0], &labels), (batch.samples.len(), &batch.samples));
    }
    Ok(batches.into_iter().flat_map(|batch| batch.samples).collect())
}

#[test]
fn training_takes_the_next_sample_for_one_that_cannot_be_shown() {
    let plan = Plan::train(&config(&[]), 8, 10, 0);
    let (whole, damaged) = (shown(&[], &plan).unwrap(), shown(&[2, 3, 9], &plan).unwrap());
    let replaced = |index: &usize| match index {
        2 | 3 => 4,
        9 => 0,
        other => *other,
    };
    assert_eq!(damaged, whole.iter().map(replaced).collect::<Vec<_>>());
}

#[test]
fn every_other_pass_leaves_out_what_cannot_be_shown() {
    let plan = Plan::infer(&config(&[]), 8);
    assert_eq!(shown(&[0, 1, 2, 3, 9], &plan).unwrap(), [4, 5, 6, 7, 8]);
}

#[test]
fn only_a_pass_without_any_image_fails() {
    const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for plan in [Plan::infer(&config(&[]), 8), Plan::train(&config(&[]), 8, 10, 0)] {
        let error = shown(ALL, &plan).unwrap_err().to_string();
        assert!(error.contains("none of the images can be used"), "{error}");
    }
}
