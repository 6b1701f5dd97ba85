import { language } from './i18n/index.js';

/** A day and a time, as people of the chosen language in this browser's country write them. */
export function dateTime(ms: number): string {
  const own = navigator.languages.find((tag) => tag.startsWith(language.value));
  return new Date(ms).toLocaleString(own ?? language.value, {
    dateStyle: 'medium',
    timeStyle: 'short',
  });
}

/** 75.4 → "1:15"; below a minute with a tenth: "15.4 s". */
export function clock(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
