#include "reference.h"

#include <utility>

namespace echomimic {

ReferenceFeatures EncodeReference(const Clip& clip, const BindOutput& bind, const RunNetwork& run) {
  const Networks& networks = clip.networks;
  const int64_t height = clip.request.image.height;
  const int64_t width = clip.request.image.width;
  ReferenceFeatures features;

  std::vector<float> mask(clip.pixels);
  for (size_t i = 0; i < clip.pixels; i++) {
    mask[i] = static_cast<float>(clip.request.face_mask.data[i]) / 255.0f;
  }
  Ort::IoBinding face = networks.face_locator->Bind();
  face.BindInput("mask", Wrap(mask.data(), {height, width}));
  bind(face, "face");
  run(*networks.face_locator, face);
  features.face = std::move(face.GetOutputValues()[0]);
  clip.cancellation.ThrowIfCancelled();

  std::vector<float> image(3 * clip.pixels);
  for (size_t i = 0; i < clip.pixels; i++) {
    for (size_t c = 0; c < 3; c++) {
      image[c * clip.pixels + i] = 2.0f * (clip.request.image.data[3 * i + c] / 255.0f) - 1.0f;
    }
  }
  Ort::IoBinding encoder = networks.vae_encoder->Bind();
  encoder.BindInput("image", Wrap(image.data(), {1, 3, height, width}));
  bind(encoder, "latents");
  run(*networks.vae_encoder, encoder);
  const auto latents = encoder.GetOutputValues();
  CheckSize(latents[0], clip.plane, "reference latents");
  clip.cancellation.ThrowIfCancelled();

  Ort::IoBinding reference = networks.reference->Bind();
  reference.BindInput("latents", latents[0]);
  for (const auto& name : clip.model.bank) bind(reference, name);
  run(*networks.reference, reference);
  features.bank = reference.GetOutputValues();
  clip.cancellation.ThrowIfCancelled();
  return features;
}

}  // namespace echomimic
