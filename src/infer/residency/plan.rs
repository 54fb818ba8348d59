//! Whether models fit into what there is for them: together, in turns, or not at all.

use crate::flow::{ModelId, VariantRule};
use crate::infer::residency::{Cost, Needs};

/// Whether models fit a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// All stay loaded.
    Together {
        /// Bytes they take, with the most that loading one of them takes for a moment.
        needed: u64,
        /// The form that was assumed: the best, or the smallest where the best do not fit.
        rule: VariantRule,
    },
    /// One after the other: the pinned stay, the others take turns.
    Turns {
        /// Bytes the pinned take with the largest of the others.
        needed: u64,
        /// Bytes all would take together.
        together: u64,
        /// Who takes turns.
        turns: Vec<ModelId>,
        /// The form that was assumed.
        rule: VariantRule,
    },
    /// Not even one after the other, in their smallest forms.
    Never {
        /// Bytes the pinned take with the largest of the others.
        needed: u64,
        /// The largest of those that do not fit beside the pinned; itself pinned if these alone are too many.
        largest: ModelId,
    },
}

/// Whether models fit a limit, and how: what `check` prints and the service does.
pub fn plan(models: &[Needs], limit: u64) -> Fit {
    let rules = [VariantRule::Best, VariantRule::Smallest];
    let together = |rule| {
        let costs = models.iter().filter_map(|needs| cost_of(needs, rule));
        let transient = costs.clone().map(|cost| cost.peak.saturating_sub(cost.kept)).max().unwrap_or(0);
        costs.fold(transient, |sum, cost| sum.saturating_add(cost.kept))
    };
    if let Some(rule) = rules.into_iter().find(|rule| together(*rule) <= limit) {
        return Fit::Together { needed: together(rule), rule };
    }
    let alone = |rule| {
        let each = ids(models).filter_map(|(id, needs)| Some((beside_pinned(models, id, needs, rule)?, id)));
        each.max_by_key(|(needed, _)| *needed).unwrap_or((0, ModelId(0)))
    };
    if let Some(rule) = rules.into_iter().find(|rule| alone(*rule).0 <= limit) {
        let turns = ids(models).filter(|(_, needs)| !needs.is_pinned() && !needs.forms.is_empty());
        let turns = turns.map(|(id, _)| id).collect();
        return Fit::Turns { needed: alone(rule).0, together: together(rule), turns, rule };
    }
    let (needed, largest) = alone(VariantRule::Smallest);
    Fit::Never { needed, largest }
}

/// Bytes of a model while it is loaded beside the pinned.
fn beside_pinned(models: &[Needs], of: ModelId, needs: &Needs, rule: VariantRule) -> Option<u64> {
    let others = ids(models).filter(|(id, needs)| *id != of && needs.is_pinned());
    let kept = others.filter_map(|(_, needs)| cost_of(needs, rule)).map(|cost| cost.kept);
    Some(kept.fold(cost_of(needs, rule)?.peak, u64::saturating_add))
}

fn ids(models: &[Needs]) -> impl Iterator<Item = (ModelId, &Needs)> {
    (0_u16..).map(ModelId).zip(models)
}

fn cost_of(needs: &Needs, rule: VariantRule) -> Option<Cost> {
    needs.forms.get(choose(&needs.forms, rule)?).copied()
}

/// The form a rule asks for: of equals the one that stands first.
pub fn choose(forms: &[Cost], rule: VariantRule) -> Option<usize> {
    let numbered = forms.iter().enumerate();
    match rule {
        VariantRule::Best => (!forms.is_empty()).then_some(0),
        VariantRule::Cheapest => numbered.min_by_key(|(_, cost)| cost.spent).map(|(form, _)| form),
        VariantRule::Smallest => numbered.min_by_key(|(_, cost)| cost.kept).map(|(form, _)| form),
    }
}
