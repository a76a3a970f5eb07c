/**
 * The recipes, and the way to a new one.
 */
import { field, h, problem, title } from "./dom.js";
import { get } from "./server.js";
import { chip, costOf, since } from "./words.js";

const NAME = /^[\w.-]{1,100}$/;

export function show(place) {
  title("Recipes");
  const list = h("ul.cards");
  const trouble = h("div");
  const name = h("input", { type: "text", placeholder: "watercolour", autocomplete: "off", spellcheck: "false" });
  const form = h(
    "form.inline",
    {
      onsubmit: event => {
        event.preventDefault();
        const wanted = name.value.trim().replace(/\.json$/, "");
        if (NAME.test(wanted)) location.hash = `#/recipes/${encodeURIComponent(wanted)}?new=1`;
        else trouble.replaceChildren(problem(new Error("A name has letters, digits, dots, dashes and underscores.")));
      },
    },
    field("Name of a new recipe", name),
    h("button", { type: "submit" }, "Write it"),
  );
  place.append(
    h("h1", "Recipes"),
    h(
      "p.soft",
      "A recipe says what video is made of a file: the body of Genviral's call, with places for the file's values.",
    ),
    trouble,
    list,
    form,
  );
  get("/api/recipes").then(
    ({ recipes }) => {
      list.replaceChildren(
        ...recipes.map(one =>
          h(
            "li.card",
            h("h2", h("a", { href: `#/recipes/${encodeURIComponent(one.name)}` }, one.name)),
            h(
              "p.dots",
              chip(one.status),
              one.model_id ? h("span", one.model_id) : null,
              costOf(one) ? h("span", costOf(one)) : null,
            ),
            one.error ? h("p.error", one.error.message) : null,
            one.placeholders?.length
              ? h(
                  "p.soft",
                  "Takes ",
                  one.placeholders.map((text, index) => [index ? ", " : "", h("code", text)]),
                )
              : null,
            one.changed_at ? h("p.soft", "changed ", since(one.changed_at)) : null,
          ),
        ),
      );
      if (!recipes.length)
        list.replaceChildren(h("li.empty", "There is no recipe yet. A file in uploads/ needs one called default."));
    },
    error => trouble.replaceChildren(problem(error)),
  );
}
