#pragma once
// What a pass of training is to make smaller.

#include <cstdint>

namespace minke {

// How the lightning indexer takes part (MODEL.md 6.4).
enum class IndexerPart : uint8_t {
  none,      // attention is dense
  chooses,   // attention is sparse; the indexer does not learn
  warms_up,  // attention is dense, and the indexer learns from it
  learns,    // attention is sparse, and the indexer learns from what it has chosen
};

// The loss is the sum of these, each as a mean over the whole step; a step may be several passes, so what
// they are means over is said in numbers.
struct Objective {
  double language = 1;  // weight of the next token's cross-entropy; 0: the model itself does not learn
  int64_t counted = 1;  // predictions of the step that count
  double mtp = 0;       // lambda of multi-token prediction, divided by its depth; 0: that layer does not run
  int64_t counted_second = 1;
  bool mtp_detached = false;  // the main model's hidden states are taken as constant
  double balance = 0;         // alpha of the sequence-wise balance loss
  int64_t sequences = 1;
  IndexerPart indexer = IndexerPart::none;
  int64_t rows = 1;  // of the step, for the indexer's mean
  // Weight of the KL divergence from the model without its adapters, over rows that have a target. A pass
  // has this or the language loss.
  double reference = 0;
  int64_t counted_reference = 1;

  bool selects() const { return indexer == IndexerPart::chooses || indexer == IndexerPart::learns; }
  bool indexer_learns() const { return indexer == IndexerPart::warms_up || indexer == IndexerPart::learns; }
  bool model_learns() const { return language != 0 || reference != 0; }
};

// The parts of the loss, already means over the step: those of its passes add up. mtp and reference without
// weights.
struct Losses {
  double language = 0, mtp = 0, balance = 0, indexer = 0, reference = 0;
  void add(const Losses& other) {
    language += other.language;
    mtp += other.mtp;
    balance += other.balance;
    indexer += other.indexer;
    reference += other.reference;
  }
};

}  // namespace minke
