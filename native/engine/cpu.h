#pragma once

namespace echomimic {

// Cores that this process may use, counting hyper-threads of one core once.
int PhysicalCores();

}  // namespace echomimic
