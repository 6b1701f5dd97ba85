#include "engine_cache.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "error.h"

namespace echomimic {

namespace {

namespace fs = std::filesystem;

constexpr const char* kKeyFile = "key";
constexpr const char* kBuilding = ".building-";

// Not against malice, only so that names differ: FNV-1a with 64 bits.
std::string Digest(const std::string& text) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  char name[17];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
  return name;
}

std::string NameOf(const std::string& text) {
  std::string name;
  for (const char c : text) {
    name += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  }
  return name;
}

std::string TextOf(const EngineMachine& machine) {
  return "gpu " + machine.gpu + "\ncapability " + machine.capability + "\ndriver " +
         machine.driver + "\ntensorrt " + machine.tensorrt + "\nonnxruntime " + machine.runtime +
         "\n";
}

std::string TextOf(const EngineKey& key) {
  std::string text = "network " + key.network + "\ndigest " + key.digest + "\n";
  for (const auto& [name, value] : key.options) text += name + " " + value + "\n";
  return text;
}

EngineError Unwritable(const std::string& path, const std::string& why) {
  return EngineError(ErrorCode::kFailed, "engine cache: " + path + ": " + why +
                                             "; make it writable or choose another folder "
                                             "(ENGINE_CACHE_DIR)");
}

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Whole and on the disk before it returns.
void Write(const fs::path& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = file >= 0;
  good = good && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  good = good && fsync(file) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (!good) throw Unwritable(path, std::strerror(error));
}

// ONNX Runtime leaves files that it has written to the system; a key must not outlive them.
void Flush(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const int file = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    fsync(file);
    close(file);
  }
}

// Held by one process at a time; the system lets go of it when that ends, however it does.
class Lock {
 public:
  explicit Lock(const fs::path& path)
      : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (file_ < 0) throw Unwritable(path, std::strerror(errno));
    while (flock(file_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      close(file_);
      throw Unwritable(path, std::strerror(error));
    }
  }
  ~Lock() { close(file_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  const int file_;
};

bool Ready(const fs::path& folder, const EngineKey& key) {
  return Read(folder / kKeyFile) == TextOf(key);
}

// What builds that were killed left behind.
void Sweep(const fs::path& root) {
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename();
    const size_t at = name.find(kBuilding);
    if (at == std::string::npos) continue;
    const long process = std::strtol(name.c_str() + at + std::strlen(kBuilding), nullptr, 10);
    if (process > 0 && process != getpid() && kill(static_cast<pid_t>(process), 0) == 0) continue;
    fs::remove_all(entry.path());
  }
}

}  // namespace

EngineCache::EngineCache(const std::string& root, const EngineMachine& machine) {
  const std::string text = TextOf(machine);
  folder_ = root + "/" + NameOf(machine.gpu) + "-" + Digest(text);
  try {
    fs::create_directories(timing_folder());
    Write(fs::path(folder_) / "machine", text);
  } catch (const fs::filesystem_error& error) {
    throw Unwritable(folder_, error.code().message());
  }
}

std::string EngineCache::FolderOf(const EngineKey& key) const {
  return folder_ + "/" + key.network + "-" + Digest(TextOf(key));
}

CacheState EngineCache::State(const EngineKey& key) const {
  if (Ready(FolderOf(key), key)) return CacheState::kReady;
  const std::string start = key.network + "-";
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    if (name.compare(0, start.size(), start) == 0) return CacheState::kStale;
  }
  return CacheState::kMissing;
}

std::string EngineCache::Reason(const EngineKey& key) const {
  if (State(key) == CacheState::kReady) return "";
  const fs::path own = FolderOf(key);
  if (fs::exists(own)) {
    return fs::exists(own / kKeyFile) ? "its key is not that of this network"
                                      : "it was not completed";
  }
  const std::string start = key.network + "-";
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    if (name.compare(0, start.size(), start) != 0) continue;
    if (name.find(kBuilding) != std::string::npos) return "another process builds it, or was killed";
    const std::string text = Read(entry.path() / kKeyFile);
    if (text.find("\ndigest " + key.digest + "\n") == std::string::npos) {
      return "the engine that is there is of other weights";
    }
    return "the engine that is there is for other sizes or settings";
  }
  const size_t machines = static_cast<size_t>(std::count_if(
      fs::directory_iterator(fs::path(folder_).parent_path()), fs::directory_iterator(),
      [](const auto& entry) { return entry.is_directory(); }));
  return machines > 1 ? "there is none for this GPU with this driver and these versions"
                      : "there is none yet";
}

bool EngineCache::Open(const EngineKey& key,
                       const std::function<void(const std::string&)>& open) const {
  const fs::path folder = FolderOf(key);
  const auto opened = [&] {
    if (!Ready(folder, key)) return false;
    try {
      open(folder);
      return true;
    } catch (const EngineError& error) {
      // Anything but an engine that cannot be read would fail again.
      if (std::string(error.what()).find("deserialize") == std::string::npos) throw;
      return false;
    }
  };
  if (opened()) return false;
  try {
    const Lock lock(fs::path(folder_) / "lock");
    if (opened()) return false;  // another process has built it meanwhile
    Sweep(folder_);
    const fs::path work = folder.string() + kBuilding + std::to_string(getpid());
    fs::remove_all(work);
    fs::remove_all(folder);
    fs::create_directory(work);
    try {
      open(work);
      Flush(work);
      Write(work / kKeyFile, TextOf(key));
      fs::rename(work, folder);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(work, ignored);
      throw;
    }
    return true;
  } catch (const fs::filesystem_error& error) {
    throw Unwritable(folder, error.code().message());
  }
}

}  // namespace echomimic
