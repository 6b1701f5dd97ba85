import { type Signal, effect, signal } from '@preact/signals';

/** A value that this browser keeps. What cannot be read or written (private windows) is forgotten. */
export function stored<T>(
  key: string,
  fallback: T,
  isValid: (value: unknown) => value is T,
  storage: () => Storage = () => localStorage,
): Signal<T> {
  const value = signal(read(key, fallback, isValid, storage));
  addEventListener('storage', (event) => {
    if (event.key === key) value.value = read(key, fallback, isValid, storage);
  });
  effect(() => {
    const text = value.value === undefined ? undefined : JSON.stringify(value.value);
    try {
      if (text === undefined) storage().removeItem(key);
      else storage().setItem(key, text);
    } catch {
      // full, or not allowed: it holds for this page alone
    }
  });
  return value;
}

function read<T>(
  key: string,
  fallback: T,
  isValid: (value: unknown) => value is T,
  storage: () => Storage,
): T {
  try {
    const value: unknown = JSON.parse(storage().getItem(key) ?? 'null');
    return isValid(value) ? value : fallback;
  } catch {
    return fallback;
  }
}

export const oneOf =
  <T>(...values: readonly T[]) =>
  (value: unknown): value is T =>
    values.includes(value as T);
