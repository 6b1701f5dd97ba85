import { effect } from '@preact/signals';
import { oneOf, stored } from './stored.js';

export const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

export const theme = stored<Theme>('theme', 'system', oneOf(...themes));

/** Colours follow `color-scheme`, which the style sheet sets by this attribute. */
export function followTheme(): void {
  effect(() => {
    const { dataset } = document.documentElement;
    if (theme.value === 'system') delete dataset['theme'];
    else dataset['theme'] = theme.value;
  });
}
