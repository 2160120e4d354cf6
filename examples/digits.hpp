/// A small task that needs no file: images of ten "digits", a perceptron that reads them, and its
/// training by any optimizer.
#pragma once

#include <cmath>

#include "autograd/functions.hpp"
#include "nn/linear.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"

namespace minima {

inline constexpr i64 kSide = 16;
inline constexpr i64 kEvery = 10;  ///< steps between two looks

struct Images {
  Tensor pixels, labels;  ///< [n, 256], [n]
};

/// A class is seven blots; an image moves all of them a little, and each of them a little more.
inline Images draw(i64 count, u64 seed) {
  RandomSequence classes(1, "classes"), random(seed, "images");
  double places[10][14];
  for (auto& place : places)
    for (double& x : place) x = 3 + 10 * classes.uniform();
  Images images{Tensor::zeros({count, kSide * kSide}), Tensor::empty({count}, DType::i64)};
  for (i64 n = 0; n < count; ++n) {
    const u64 label = random.below(10);
    images.labels.data<i64>()[n] = static_cast<i64>(label);
    const double down = 1.5 * random.normal(), right = 1.5 * random.normal();
    for (int blot = 0; blot < 14; blot += 2) {
      const double y = places[label][blot] + down + random.normal();
      const double x = places[label][blot + 1] + right + random.normal();
      float* pixel = images.pixels.data<float>() + n * kSide * kSide;
      for (int i = 0; i < kSide; ++i)
        for (int j = 0; j < kSide; ++j, ++pixel)
          *pixel = std::max(*pixel, static_cast<float>(std::exp(-std::hypot(i - y, j - x))));
    }
  }
  return images;
}

/// One hidden layer.
struct Perceptron : nn::Module {
  nn::Linear &hidden = child<nn::Linear>("hidden", kSide*kSide, 64, 1.0 / 16),
             &output = child<nn::Linear>("output", 64, 10, 1.0 / 8);
  Variable operator()(const Variable& x) const { return output(relu(hidden(x))); }
};

/// All values as one vector.
inline Variable flat(const std::vector<Parameter*>& parameters) {
  const NoGrad no_grad;
  std::vector<Variable> parts;
  for (const Parameter* parameter : parameters)
    parts.push_back(reshape(Variable(parameter->value), {-1}));
  return cat(parts, 0);
}

/// The loss on 64 of the images, drawn anew.
inline Variable loss_of_batch(const Perceptron& model, const Images& images,
                              RandomSequence& random) {
  Tensor batch = Tensor::empty({64}, DType::i64);
  for (i64& i : batch.span<i64>())
    i = static_cast<i64>(random.below(static_cast<u64>(images.labels.size())));
  const Variable logits = model(ops::index_select(images.pixels, 0, batch));
  return cross_entropy(logits, ops::index_select(images.labels, 0, batch));
}

/// At every tenth step, from 0 on: the loss on images that are held out, and all weights.
struct Path {
  std::vector<double> loss;
  std::vector<Tensor> weights;
};

/// Batches of 64, drawn by `shuffle`; the learning rate rises for a twentieth of the steps, then falls
/// to 0.
inline Path train(const std::string& spec, u64 seed, u64 shuffle, i64 steps) {
  static const Images training = draw(4096, 1), held_out = draw(1024, 2);
  Perceptron model;
  model.initialize(seed);
  Optimizer optimizer = make_optimizer(spec, model.parameters());
  const Schedule schedule{.kind = "linear", .warmup = steps / 20, .total = steps};
  RandomSequence random(shuffle, "batches");
  Path path;
  for (i64 k = 0; k <= steps; ++k) {
    if (k % kEvery == 0) {
      NoGrad no_grad;
      path.loss.push_back(cross_entropy(model(held_out.pixels), held_out.labels).value().item());
      path.weights.push_back(flat(model.parameters()).value());
    }
    loss_of_batch(model, training, random).backward();
    optimizer.step({.lr_factor = schedule.factor(k)});
    for (Parameter* p : model.parameters()) p->gradient.clear();
  }
  return path;
}

}  // namespace minima
