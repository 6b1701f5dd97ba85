import { useId } from 'preact/hooks';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Field } from '../parts/field.js';
import { audio, fieldProblem, fields, model, noFields, ranges } from './draft.js';
import { clock } from '../time.js';

/** Sides that are offered, as far as the model takes them. */
const sides = [64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048];

function set(name: keyof typeof fields.value, text: string): void {
  fields.value = { ...fields.value, [name]: text };
}

/** How it is rendered; empty fields follow the model. */
export function SettingFields() {
  const { studio } = t();
  const made = model.value;
  const isChanged = Object.values(fields.value).some((text) => text !== '');
  return (
    <details class="studio-settings">
      <summary>
        <span>{studio.settings}</span>
        {isChanged && <span class="quiet">{studio.changed}</span>}
      </summary>
      <div class="stack-tight">
        <p class="hint">{studio.settingsHint}</p>
        <div class="studio-fields">
          <NumberField
            name="steps"
            label={studio.steps}
            hint={studio.stepsHint}
            placeholder={made && String(made.steps)}
          />
          <NumberField
            name="cfg"
            label={studio.guidance}
            hint={studio.guidanceHint}
            placeholder={made && String(made.cfg)}
          />
          <NumberField
            name="frames"
            label={studio.frames}
            hint={framesHint()}
            placeholder={studio.all}
          />
          <NumberField
            name="seed"
            label={studio.seed}
            hint={studio.seedHint}
            placeholder={studio.drawn}
          />
          <SizeField />
        </div>
        {isChanged && (
          <Button look="quiet" onClick={() => (fields.value = noFields)}>
            {studio.resetSettings}
          </Button>
        )}
      </div>
    </details>
  );
}

function framesHint(): string {
  const { studio } = t();
  const fps = model.value?.fps;
  const seconds = audio.value?.seconds;
  if (fps === undefined || seconds === undefined) return studio.framesHint;
  return studio.framesAre(Math.round(seconds * fps), clock(seconds));
}

function NumberField({
  name,
  placeholder,
  ...rest
}: {
  name: keyof typeof ranges;
  label: string;
  hint: string;
  placeholder: string | undefined;
}) {
  return (
    <Field
      {...rest}
      inputMode={ranges[name].isWhole ? 'numeric' : 'decimal'}
      autoComplete="off"
      value={fields.value[name]}
      placeholder={placeholder ?? ''}
      problem={fieldProblem(name)}
      onInput={(event) => set(name, event.currentTarget.value)}
    />
  );
}

function SizeField() {
  const { studio } = t();
  const id = useId();
  const size = model.value?.size;
  if (size === undefined) return null;
  const { default: usual, minimum, maximum } = size;
  const known = [...sides, usual, Number(fields.value.size)];
  const choices = [...new Set(known)]
    .filter((side) => side >= minimum && side <= maximum)
    .sort((a, b) => a - b);
  return (
    <div class="field">
      <label for={id}>{studio.size}</label>
      <select
        id={id}
        aria-describedby={`${id}-hint`}
        value={fields.value.size}
        onChange={(event) => set('size', event.currentTarget.value)}
      >
        <option value="">{studio.usualSize(usual)}</option>
        {choices
          .filter((side) => side !== usual)
          .map((side) => (
            <option key={side} value={String(side)}>
              {studio.pixels(side)}
            </option>
          ))}
      </select>
      <p id={`${id}-hint`} class="hint">
        {studio.sizeHint(usual)}
      </p>
    </div>
  );
}
