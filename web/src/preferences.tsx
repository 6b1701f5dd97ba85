import { type Language, language, languages, t } from './i18n/index.js';
import { type Theme, theme, themes } from './theme.js';

/** Language and colours; both are kept by this browser. */
export function Preferences() {
  const { common } = t();
  return (
    <div class="preferences" role="group" aria-label={common.preferences}>
      <label>
        <span class="visually-hidden">{common.language}</span>
        <select
          value={language.value}
          onChange={(event) => (language.value = event.currentTarget.value as Language)}
        >
          {Object.entries(languages).map(([tag, name]) => (
            <option key={tag} value={tag} lang={tag}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span class="visually-hidden">{common.theme}</span>
        <select
          value={theme.value}
          onChange={(event) => (theme.value = event.currentTarget.value as Theme)}
        >
          {themes.map((one) => (
            <option key={one} value={one}>
              {common.themes[one]}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
