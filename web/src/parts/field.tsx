import type { ComponentChildren, InputHTMLAttributes } from 'preact';
import { useId } from 'preact/hooks';

/** A labelled input; `hint` and `problem` are read out with it. */
export function Field({
  label,
  hint,
  problem,
  ...input
}: InputHTMLAttributes & { label: string; hint?: string; problem?: string | undefined }) {
  const id = useId();
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        aria-describedby={described || undefined}
        aria-invalid={problem ? true : undefined}
        {...input}
      />
      {hint && (
        <p id={`${id}-hint`} class="hint">
          {hint}
        </p>
      )}
      {problem && (
        <p id={`${id}-problem`} class="problem">
          {problem}
        </p>
      )}
    </div>
  );
}

export function Tick({
  children,
  isTicked,
  onTick,
}: {
  children: ComponentChildren;
  isTicked: boolean;
  onTick: (isTicked: boolean) => void;
}) {
  return (
    <label class="tick">
      <input
        type="checkbox"
        checked={isTicked}
        onChange={(event) => onTick(event.currentTarget.checked)}
      />
      <span>{children}</span>
    </label>
  );
}

/** A few choices side by side, as radio buttons. */
export function Segments<T extends string>({
  label,
  isLabelHidden = false,
  options,
  value,
  onChoose,
}: {
  label: string;
  isLabelHidden?: boolean;
  options: readonly { readonly value: T; readonly label: string }[];
  value: T;
  onChoose: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="segments">
      <legend class={isLabelHidden ? 'visually-hidden' : undefined}>{label}</legend>
      <div>
        {options.map((option) => (
          <label key={option.value}>
            <input
              type="radio"
              name={name}
              checked={option.value === value}
              onChange={() => onChoose(option.value)}
            />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
