/** Whether a process of this machine lives (also one of another user). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Signals of a crash. A handler for one of them, even one that never runs, keeps the process in its
 * crash for ever: the instruction that failed is tried again and again.
 */
export const crashSignals: ('SIGSEGV' | 'SIGBUS' | 'SIGILL' | 'SIGFPE' | 'SIGTRAP' | 'SIGABRT')[] =
  ['SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGTRAP', 'SIGABRT'];
