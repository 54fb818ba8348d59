//! Models that are loaded, lent, lost and exchanged, with real files and threads.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::flow::Priority;
use crate::infer::{AdmissionLimits, Manifest, ModelInput, Needs, VariantReport, examine};
use crate::runtime::text_row::text_row;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What admission finds in a folder, in this process.
fn source(folder: &Path, change: impl FnOnce(&mut [VariantReport])) -> ModelSource {
    let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let files = |name: &str| std::fs::read(folder.join(name)).ok();
    let (limits, mut step) = (AdmissionLimits::default(), |_: &str| ());
    let report = examine(&text, &files, &limits, &text_row, &|| Duration::ZERO, &mut step);
    let mut variants = report.unwrap().variants;
    change(&mut variants);
    ModelSource::new(Arc::new(Manifest::parse(&text).unwrap()), folder.to_owned(), variants)
}

/// A shelf for these folders, under this limit, with nothing loaded.
fn shelf(folders: &[PathBuf], limit: impl Fn(&[Needs]) -> u64) -> Shelf {
    shelf_of(folders.iter().map(|folder| source(folder, |_| ())).collect(), limit)
}

fn shelf_of(sources: Vec<ModelSource>, limit: impl Fn(&[Needs]) -> u64) -> Shelf {
    let sources: Vec<_> = sources.into_iter().map(Arc::new).collect();
    let forms = |source: &Arc<ModelSource>| source.forms().iter().map(|form| form.cost).collect();
    let needs: Vec<_> =
        sources.iter().map(|source| Needs { forms: forms(source), lane: Priority::Normal }).collect();
    let mut registry = Registry::new();
    for source in &sources {
        registry.expect(Arc::clone(source.manifest())).unwrap();
    }
    let (readings, limit) = (sources.iter().map(|_| None).collect(), limit(&needs));
    let sources = sources.into_iter().map(Some).collect();
    Shelf::new(registry, readings, sources, Residency::new(needs, limit))
}

fn at(seconds: u64) -> Uptime {
    Uptime::ZERO.after(Duration::from_secs(seconds))
}

fn prepare(shelf: &mut Shelf, id: u16, seconds: u64) -> Standing {
    shelf.prepare(ModelId(id), VariantRule::Best, &Budget::NOMINAL, at(seconds))
}

fn ask(shelf: &mut Shelf, id: u16, values: &[f32]) -> Option<FailureReason> {
    let (mut lent, _) = shelf.lend(ModelId(id));
    let input = ModelInput::Features { values, completeness: None };
    let answer = lent.registry.judge(ModelId(id), &[input], &mut |_| false).remove(0);
    shelf.give_back(lent);
    answer.err()
}

async fn come(shelf: &mut Shelf, seconds: u64) {
    shelf.arrival().await;
    shelf.look(at(seconds));
}

#[tokio::test]
async fn models_that_do_not_fit_together_take_turns_and_are_reloaded_from_the_same_bytes() {
    let folders = [folder("tests/golden/models/dense-pair"), folder("tests/golden/models/dense-pair")];
    let most = |needs: &[Needs]| needs.iter().map(|needs| needs.forms[0].peak).max().unwrap();
    let mut shelf = shelf(&folders, most);
    assert_eq!(ask(&mut shelf, 0, &[1.0; 4]), Some(FailureReason::NoRoom));
    assert_eq!(prepare(&mut shelf, 0, 0), Standing::Coming);
    assert_eq!(shelf.status()[0].state, ModelState::Loading);
    assert_eq!(prepare(&mut shelf, 1, 0), Standing::Coming, "one is loaded at a time");
    come(&mut shelf, 1).await;
    assert_eq!((prepare(&mut shelf, 0, 2), ask(&mut shelf, 0, &[1.0; 4])), (Standing::Ready, None));
    assert_eq!(prepare(&mut shelf, 1, 3), Standing::Later(at(61)));
    for turn in 1..4 {
        let (now, id) = (61 * turn, u16::from(turn % 2 == 1));
        assert_eq!(prepare(&mut shelf, id, now), Standing::Coming);
        assert_eq!(
            shelf.registry.state(ModelId(1 - id)),
            Some(ModelState::Ready),
            "until the file is checked"
        );
        come(&mut shelf, now).await;
        assert_eq!(shelf.registry.state(ModelId(1 - id)), Some(ModelState::Unloaded));
        come(&mut shelf, now).await;
        assert_eq!(prepare(&mut shelf, id, now), Standing::Ready);
    }
    let counts: Vec<_> =
        shelf.registry.status().map(|model| (model.resident, model.loads, model.unloads)).collect();
    assert_eq!(counts, [(false, 2, 2), (true, 2, 1)]);
}

#[tokio::test]
async fn the_form_of_a_model_is_exchanged_while_the_old_one_still_answers() {
    let mut shelf = shelf(&[folder("models/failure-mode")], |_| u64::MAX);
    let mut ask = async |rule, seconds| {
        let standing = shelf.prepare(ModelId(0), rule, &Budget::NOMINAL, at(seconds));
        while shelf.fetch.is_some() {
            come(&mut shelf, seconds).await;
        }
        (standing, shelf.registry.status().next().unwrap().variant.unwrap())
    };
    let (fp32, int8) = (Arc::from("fp32"), Arc::from("int8-qoperator"));
    assert_eq!(ask(VariantRule::Best, 0).await, (Standing::Coming, Arc::clone(&fp32)));
    assert_eq!(ask(VariantRule::Smallest, 1).await, (Standing::Ready, Arc::clone(&int8)));
    assert_eq!(ask(VariantRule::Best, 30).await, (Standing::Ready, int8), "not back and forth");
    assert_eq!(ask(VariantRule::Best, 61).await, (Standing::Ready, fp32));
}

#[tokio::test]
async fn a_model_that_hangs_while_another_form_of_it_is_loaded_stays_out_of_use() {
    let mut shelf = shelf(&[folder("models/failure-mode")], |_| u64::MAX);
    shelf.fill(&[ModelId(0)], at(0));
    let rule = VariantRule::Smallest;
    assert_eq!(shelf.prepare(ModelId(0), rule, &Budget::NOMINAL, at(1)), Standing::Ready);
    assert!(shelf.fetch.is_some());
    let (_lent, shown) = shelf.lend(ModelId(0));
    shelf.give_up(ModelId(0), shown, 1);
    come(&mut shelf, 2).await;
    let hung = ModelState::Quarantined(FailureReason::Hung);
    assert_eq!(shelf.registry.state(ModelId(0)), Some(hung));
    assert_eq!((shelf.registry.memory_bytes(), shelf.residency.kept()), (0, 0));
    let lost = shelf.residency.cost(ModelId(0), 0).kept;
    assert_eq!(shelf.residency.taken(), lost, "the other form is not kept for nothing");
    assert_eq!(prepare(&mut shelf, 0, 3), Standing::Ready, "it says so itself");
}

#[tokio::test]
async fn a_file_that_is_not_the_one_that_was_admitted_is_not_loaded() {
    let temporary = tempfile::tempdir().unwrap();
    let from = folder("tests/golden/models/echo");
    for file in ["manifest.toml", "golden.json", "model.onnx"] {
        std::fs::copy(from.join(file), temporary.path().join(file)).unwrap();
    }
    let mut shelf = shelf(&[temporary.path().to_owned()], |_| u64::MAX);
    let file = temporary.path().join("model.onnx");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(prepare(&mut shelf, 0, 0), Standing::Coming);
    come(&mut shelf, 0).await;
    let out_of_use = ModelState::Quarantined(FailureReason::Errored);
    assert_eq!(shelf.registry.state(ModelId(0)), Some(out_of_use));
    assert_eq!(prepare(&mut shelf, 0, 100), Standing::Ready, "it says so itself");
    assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), Some(FailureReason::Quarantined));
}

#[tokio::test]
async fn while_flash_is_to_be_spared_nothing_that_is_away_is_loaded() {
    let mut shelf = shelf(&[folder("tests/golden/models/echo")], |_| u64::MAX);
    let sparing = Budget { spare_flash: true, ..Budget::NOMINAL };
    assert_eq!(shelf.prepare(ModelId(0), VariantRule::Best, &sparing, at(0)), Standing::Not);
    assert_eq!(prepare(&mut shelf, 0, 1), Standing::Coming);
}

#[tokio::test]
async fn a_model_that_hung_and_came_back_is_used_again_three_times_not_more() {
    let mut shelf = shelf(&[folder("tests/golden/models/echo")], |_| u64::MAX);
    shelf.fill(&[ModelId(0)], at(0));
    for hang in 1..=HANGS_MAX {
        assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), None);
        let (lent, shown) = shelf.lend(ModelId(0));
        shelf.give_up(ModelId(0), shown, 8);
        assert_eq!(ask(&mut shelf, 0, &[1.0, 2.0]), Some(FailureReason::Quarantined));
        shelf.forgive(lent, at(hang));
    }
    let status = shelf.registry.status().next().unwrap();
    assert_eq!(status.state, ModelState::Quarantined(FailureReason::Hung));
    assert_eq!((status.hangs, status.judged, status.resident), (HANGS_MAX, HANGS_MAX, false));
}

/// Two models of two forms each, the second of which takes half, in folders of their own.
struct World {
    shelf: Shelf,
    folders: Vec<tempfile::TempDir>,
    away: Vec<(Lent, u64)>,
    now: u64,
}

/// Two models of which one fits into memory at a time, and their folders.
pub(in crate::runtime) fn one_at_a_time() -> (Shelf, Vec<tempfile::TempDir>) {
    let World { shelf, folders, .. } = World::new(2, 2);
    (shelf, folders)
}

impl World {
    /// With room for so many of the larger forms while they are loaded.
    fn new(models: usize, room: u64) -> Self {
        let from = folder("tests/golden/models/dense-pair");
        let (mut folders, mut sources) = (Vec::new(), Vec::new());
        for _ in 0..models {
            let to = tempfile::tempdir().unwrap();
            for file in ["golden.json", "model.onnx"] {
                std::fs::copy(from.join(file), to.path().join(file)).unwrap();
            }
            let manifest = std::fs::read_to_string(from.join("manifest.toml")).unwrap();
            let (head, rest) = manifest.split_once("[[variants]]").unwrap();
            let (variant, golden) = rest.split_once("[golden]").unwrap();
            let small = variant.replace("fp32", "small");
            let text = format!("{head}[[variants]]{variant}[[variants]]{small}[golden]{golden}");
            std::fs::write(to.path().join("manifest.toml"), text).unwrap();
            sources.push(source(to.path(), |variants| variants[1].memory_bytes /= 2));
            folders.push(to);
        }
        let shelf = shelf_of(sources, |needs| needs[0].forms[0].peak * room / 4);
        Self { shelf, folders, away: Vec::new(), now: 0 }
    }

    async fn step(&mut self, what: u8, which: u16) {
        let id = ModelId(which % u16::try_from(self.folders.len()).unwrap());
        let file = self.folders[usize::from(id.0)].path().join("model.onnx");
        let rule = [VariantRule::Best, VariantRule::Smallest][usize::from(which / 4 % 2)];
        match what {
            0..4 => drop(self.shelf.prepare(id, rule, &Budget::NOMINAL, at(self.now))),
            4..7 if self.shelf.fetch.is_some() => come(&mut self.shelf, self.now).await,
            7 => drop(ask(&mut self.shelf, id.0, &[1.0; 4])),
            8 if self.shelf.residency.form(id).is_some() => {
                let (lent, shown) = self.shelf.lend(id);
                let kept = shown.as_ref().unwrap().memory_bytes;
                self.shelf.give_up(id, shown, 1);
                self.away.push((lent, kept));
            }
            9 if !self.away.is_empty() => {
                let (lent, _) = self.away.remove(usize::from(which) % self.away.len());
                self.shelf.forgive(lent, at(self.now));
            }
            10 => {
                let (level, reason) = (Level::Critical, BudgetReason::Memory);
                self.shelf.relieve(&Budget { level, reason, ..Budget::NOMINAL }, at(self.now));
            }
            11 if which == 0 => drop(std::fs::remove_file(file)),
            _ => self.now += 31,
        }
    }

    /// The books of the registry, of the residency and of the thread that loads, against one another.
    fn check(&self) -> Result<(), TestCaseError> {
        let World { shelf, away, .. } = self;
        let residency = &shelf.residency;
        for (id, shown) in (0_u16..).map(ModelId).zip(shelf.status()) {
            prop_assert_eq!(residency.form(id).is_some(), shown.state == ModelState::Ready, "{:?}", shown);
            prop_assert_eq!(shown.resident, shown.state == ModelState::Ready);
            let is_lost = away.iter().any(|(lent, _)| lent.model == id);
            prop_assert!(!is_lost || shown.state == ModelState::Quarantined(FailureReason::Hung));
        }
        prop_assert_eq!(shelf.registry.memory_bytes(), residency.kept());
        let lost: u64 = away.iter().map(|(_, kept)| kept).sum();
        let coming = residency.coming().map_or(0, |coming| coming.peak);
        prop_assert_eq!(residency.taken(), residency.kept() + lost + coming);
        prop_assert!(residency.taken() <= residency.limit());
        prop_assert_eq!(residency.coming().is_some(), shelf.fetch.is_some());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_to_models_their_books_agree_and_the_limit_holds(
        models in 1_usize..4,
        room in 4_u64..10,
        steps in prop::collection::vec((0_u8..14, 0_u16..8), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut world = World::new(models, room);
        for (what, which) in steps {
            runtime.block_on(world.step(what, which));
            world.check()?;
        }
    }
}

#[tokio::test]
async fn nobody_gives_way_to_a_model_whose_file_is_gone() {
    let mut world = World::new(2, 4);
    assert_eq!(prepare(&mut world.shelf, 0, 0), Standing::Coming);
    come(&mut world.shelf, 0).await;
    std::fs::remove_file(world.folders[1].path().join("model.onnx")).unwrap();
    // One form after the other.
    for _ in 0..2 {
        assert_eq!(prepare(&mut world.shelf, 1, 61), Standing::Coming);
        come(&mut world.shelf, 61).await;
    }
    let states: Vec<_> = world.shelf.status().into_iter().map(|shown| shown.state).collect();
    assert_eq!(states, [ModelState::Ready, ModelState::Quarantined(FailureReason::Errored)]);
    assert_eq!(ask(&mut world.shelf, 0, &[1.0; 4]), None);
}

/// Health said `up` and no line of the log told it: the streams of such a model were never judged.
#[test]
fn a_model_that_never_fits_is_shown_as_out_of_use() {
    let mut shelf = shelf(&[folder("tests/golden/models/dense-pair")], |_| 0);
    shelf.fill(&[ModelId(0)], at(0));
    assert_eq!(prepare(&mut shelf, 0, 1), Standing::Not);
    assert_eq!(shelf.status()[0].state, ModelState::Refused(SHUT_OUT.to_owned()));
}
