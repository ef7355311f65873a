// A true picture of a page of the canvas, made where the page is: the page is copied with the styles it has, the copy is
// drawn as an image, and the image is the picture. What cannot be copied truly is refused with its reason.
//
// `picture` runs inside the frame and is sent there as text, so it names nothing outside itself.

/** Code for the frame; its value is JSON: `{format, base64}` or `{refused}`. */
export function snapshotCode({ format, maxWidth, quality }) {
  return `(${picture})(${JSON.stringify({ format, maxWidth, quality })})`;
}


async function picture({ format, maxWidth, quality }) {
  const ELEMENTS_MAX = 20_000;
  const SIDE_MAX = 4096;
  const BASE64_MAX = 12 * 1024 * 1024;
  const SVG = "http://www.w3.org/2000/svg";

  class Untrue extends Error {}
  const wide = Math.round(innerWidth);
  const high = Math.round(innerHeight);
  const root = document.documentElement;
  const HTML = root.namespaceURI;
  const inert = document.implementation.createHTMLDocument("");
  const fetched = new Map();
  const rules = [];
  let elements = 0;

  /** What lies at an address, as a data: address. */
  const inline = (address) => {
    const url = new URL(address, document.baseURI).href;
    if (url.startsWith("data:")) return Promise.resolve(url);
    if (!fetched.has(url)) {
      const read = async () => {
        const answer = await fetch(url, { cache: "force-cache" }).catch(() => null);
        if (!answer?.ok) throw new Untrue(`${url.slice(0, 200)} cannot be read from the page, so it would be missing in the picture`);
        const blob = await answer.blob();
        return new Promise((resolve, reject) => {
          const reader = new FileReader();
          reader.onload = () => resolve(reader.result);
          reader.onerror = () => reject(new Untrue("a picture of the page cannot be read"));
          reader.readAsDataURL(blob);
        });
      };
      fetched.set(url, read());
    }
    return fetched.get(url);
  };
  /** A CSS value with every address in it replaced. */
  const inlined = async (value) => {
    const parts = [...value.matchAll(/url\("((?:[^"\\]|\\.)*)"\)/g)];
    for (const [whole, address] of parts) {
      if (!address.startsWith("#")) value = value.replace(whole, `url("${await inline(address)}")`);
    }
    return value;
  };

  // What an element of that name looks like by itself: only what differs from it is written down. Made in a tree that no
  // style sheet of the page reaches.
  const nursery = document.createElement("div");
  nursery.style.cssText = "all: initial; position: fixed; visibility: hidden; inline-size: 0; block-size: 0; overflow: hidden";
  const ground = nursery.attachShadow({ mode: "closed" });
  const plain = new Map();
  const plainStyle = (element, name) => {
    // Colours of controls follow the scheme; one that is written down would take a control's own look away.
    const { colorScheme } = getComputedStyle(element);
    const key = `${element.namespaceURI} ${name} ${element.type ?? ""} ${colorScheme}`;
    if (!plain.has(key)) {
      const twin = document.createElementNS(element.namespaceURI, name);
      if (name === "input") twin.type = element.type;
      twin.style.colorScheme = colorScheme;
      if (element.namespaceURI === SVG && name !== "svg") {
        const around = document.createElementNS(SVG, "svg");
        around.append(twin);
        ground.append(around);
      } else ground.append(twin);
      const style = getComputedStyle(twin);
      plain.set(key, Object.fromEntries(Array.from(style, (property) => [property, style.getPropertyValue(property)])));
    }
    return plain.get(key);
  };

  const INHERITED =
    /^(color|color-scheme|direction|visibility|quotes|hyphens|cursor|tab-size|writing-mode|paint-order|accent-color|caret-color|fill.*|stroke.*|font.*|line-.*|letter-.*|text-.*|white-space.*|word-.*|overflow-wrap|list-style.*|border-collapse|border-spacing|caption-side|-webkit-(text|font|locale|line).*)$/;
  // Said a second time by other properties, or about what moves and what is touched.
  const SKIPPED =
    /(^|-)(block|inline)(-|$)|^(animation|transition|cursor|pointer-events|user-select|will-change|app-region|zoom$|view-transition|scroll|overscroll|touch|timeline|-webkit-user|-webkit-app|interpolate|perspective-origin|container)/;

  /** The declarations that make a plain element inside `above` look like this. */
  const declarations = async (style, base, above) => {
    const told = [];
    for (const property of style) {
      if (SKIPPED.test(property)) continue;
      let value = style.getPropertyValue(property);
      const isInherited = INHERITED.test(property);
      if (value === base?.[property] && (!isInherited || above === null || value === above.getPropertyValue(property))) continue;
      if (value.includes("url(")) value = await inlined(value);
      if (/^overflow(-|$)/.test(property) && /auto|scroll/.test(value)) value = value.replace(/auto|scroll/g, "hidden");
      told.push(`${property}:${value}`);
    }
    return told;
  };

  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    const isOn = box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 && box.left < wide && box.top < high;
    return isOn && getComputedStyle(element).visibility === "visible";
  };
  const clean = (text) => text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "");
  const KEPT = ["type", "placeholder", "disabled", "colspan", "rowspan", "span", "start", "reversed", "multiple", "size", "rows", "cols", "min", "max", "step", "dir", "lang", "open", "value", "label"];
  const LEFT_OUT = new Set(["script", "style", "link", "template", "noscript", "head", "meta", "title", "base"]);
  const PSEUDO = ["::before", "::after", "::placeholder"];

  const copyText = (node) => inert.createTextNode(clean(node.data));

  /** Copies an element and what is in it, as it is laid out: with what is in its shadow, or its slots. */
  const copy = async (element, above) => {
    const name = element.localName;
    if (LEFT_OUT.has(name) || element === nursery) return null;
    const style = getComputedStyle(element);
    const isSvg = element.namespaceURI === SVG;
    if (style.display === "none" && !isSvg) return null;
    if ((elements += 1) > ELEMENTS_MAX) throw new Untrue(`the page has more than ${ELEMENTS_MAX} elements`);
    if (["iframe", "frame", "object", "embed", "video", "audio"].includes(name) && isSeen(element)) {
      throw new Untrue(`the page shows <${name}>, which cannot be read from the page`);
    }

    const isCustom = name.includes("-") || name === "slot" || name === "body" || name === "html";
    const shownAs = isCustom ? "div" : name === "canvas" ? "img" : name;
    const twin = inert.createElementNS(isSvg ? SVG : HTML, shownAs);
    const told = await declarations(style, plainStyle(element, shownAs), above);

    if (isSvg) {
      for (const { name: key, value } of element.attributes) {
        if (key !== "style" && !key.startsWith("on") && /^[a-zA-Z_][\w.:-]*$/.test(key)) twin.setAttribute(key, clean(value));
      }
      const address = element.getAttribute("href") ?? element.getAttribute("xlink:href");
      if (name === "image" && address) twin.setAttribute("href", await inline(address));
      if (name === "use" && address && !address.startsWith("#")) throw new Untrue("the page uses a drawing of another file");
      if (name === "foreignObject" && element.querySelector("iframe, video")) throw new Untrue("a drawing of the page shows another page");
    } else {
      for (const key of KEPT) {
        if (element.hasAttribute(key)) twin.setAttribute(key, clean(element.getAttribute(key)));
      }
    }
    if (name === "img") {
      const address = element.currentSrc || element.src;
      if (address && element.complete && element.naturalWidth > 0) twin.setAttribute("src", await inline(address));
      else twin.setAttribute("alt", clean(element.alt));
    } else if (name === "canvas") {
      try {
        twin.setAttribute("src", element.toDataURL());
      } catch {
        throw new Untrue("a drawing of the page holds what it may not read");
      }
    } else if (name === "input") {
      twin.setAttribute("value", element.type === "password" ? "\u2022".repeat(element.value.length) : clean(element.value));
      if (element.type === "password") twin.setAttribute("type", "text");
      if (element.checked) twin.setAttribute("checked", "");
    } else if (name === "option") {
      if (element.selected) twin.setAttribute("selected", "");
    }

    // What a box was scrolled by, its parts are moved by; what is fixed stands still.
    const parent = element.assignedSlot ?? element.parentElement;
    const isScrolled = parent && parent !== root && parent !== document.body && (parent.scrollLeft || parent.scrollTop);
    if (isScrolled && style.position !== "fixed" && style.translate === "none") {
      told.push(`translate:${-parent.scrollLeft}px ${-parent.scrollTop}px`);
    }
    told.push("animation:none", "transition:none");
    const isTop = name === "dialog" && element.matches(":modal");
    if (isTop) told.push("z-index:2147483647");
    if (element === root) told.push(`color-scheme:${style.colorScheme}`);
    if (element === root || element === document.body) told.push("background:none");
    twin.setAttribute("style", clean(told.join(";")));

    for (const pseudo of PSEUDO) {
      if (pseudo === "::placeholder" && !element.placeholder) continue;
      const its = getComputedStyle(element, pseudo);
      if (pseudo !== "::placeholder" && (its.content === "none" || its.content === "normal")) continue;
      // Properties that a placeholder may not have are ignored there.
      const mark = `p${rules.length}`;
      twin.setAttribute("class", `${twin.getAttribute("class") ?? ""} ${mark}`.trim());
      const body = await declarations(its, plainStyle(element, "span"), style);
      if (pseudo !== "::placeholder") body.push(`content:${await inlined(its.content)}`);
      rules.push(`.${mark}${pseudo}{${body.join(";")};animation:none;transition:none}`);
    }

    if (name === "textarea") {
      twin.textContent = clean(element.value);
    } else if (name !== "img" && name !== "canvas" && name !== "input") {
      const assigned = name === "slot" ? element.assignedNodes() : [];
      const inside = element.shadowRoot?.childNodes ?? (assigned.length > 0 ? assigned : element.childNodes);
      for (const node of [...inside]) {
        if (node.nodeType === 3) twin.append(copyText(node));
        else if (node.nodeType === 1) {
          const child = await copy(node, style);
          if (child !== null) twin.append(...child);
        }
      }
    }
    if (!isTop) return [twin];
    const veil = getComputedStyle(element, "::backdrop");
    const cover = inert.createElement("div");
    const place = `position:fixed;left:0;top:0;width:${wide}px;height:${high}px;z-index:2147483646`;
    cover.setAttribute("style", `${place};background:${veil.backgroundColor};opacity:${veil.opacity};backdrop-filter:${veil.backdropFilter}`);
    return [cover, twin];
  };

  /** The fonts that the page brought, with their bytes. */
  const fonts = async () => {
    if ([...document.fonts].every((face) => face.status !== "loaded")) return;
    for (const sheet of document.styleSheets) {
      let list = null;
      let base = document.baseURI;
      try {
        list = [...sheet.cssRules];
      } catch {
        base = sheet.href;
        const text = await fetch(sheet.href).then((answer) => answer.text(), () => null);
        if (text === null) throw new Untrue("a style sheet with fonts cannot be read from the page");
        const again = new CSSStyleSheet();
        again.replaceSync(text);
        list = [...again.cssRules];
      }
      base = sheet.href ?? base;
      for (const rule of list) {
        if (rule.type !== CSSRule.FONT_FACE_RULE) continue;
        let text = rule.cssText;
        for (const [whole, address] of text.matchAll(/url\("((?:[^"\\]|\\.)*)"\)/g)) {
          text = text.replace(whole, `url("${await inline(new URL(address, base).href)}")`);
        }
        rules.push(text);
      }
    }
  };

  try {
    if (wide < 1 || high < 1) throw new Untrue("the canvas is hidden, or has no size; present it first");
    root.append(nursery);
    const html = getComputedStyle(root);
    const body = document.body && getComputedStyle(document.body);
    const hasGround = (style) => style && (style.backgroundImage !== "none" || !/^rgba\(.*, 0\)$|^transparent$/.test(style.backgroundColor));
    const painted = hasGround(html) ? html : hasGround(body) ? body : null;
    const copied = (await copy(root, null)) ?? [];
    await fonts();

    // The ground of a page covers all there is to see, however small the element is whose it is.
    const probe = document.createElement("div");
    probe.style.cssText = "all: initial; background-color: Canvas";
    probe.style.colorScheme = html.colorScheme;
    ground.append(probe);
    const paper = getComputedStyle(probe).backgroundColor;
    const box = root.getBoundingClientRect();
    const behind = inert.createElement("div");
    const full = `position:absolute;left:0;top:0;width:${wide}px;height:${high}px`;
    if (painted) {
      const layers = await inlined(painted.backgroundImage);
      const isFixed = painted.backgroundAttachment === "fixed";
      const auto = isFixed ? `${wide}px ${high}px` : `${box.width}px ${box.height}px`;
      const size = /gradient/.test(layers) && painted.backgroundSize === "auto" ? auto : painted.backgroundSize;
      const at = isFixed ? painted.backgroundPosition : painted.backgroundPosition === "0% 0%" ? `${box.left}px ${box.top}px` : painted.backgroundPosition;
      const top = inert.createElement("div");
      top.setAttribute(
        "style",
        `${full};background-color:${painted.backgroundColor};background-image:${layers};background-size:${size};background-position:${at};background-repeat:${painted.backgroundRepeat}`,
      );
      behind.append(top);
    }
    behind.setAttribute("style", `${full};background-color:${paper}`);

    const scale = Math.min(devicePixelRatio || 1, maxWidth ? maxWidth / wide : Infinity, SIDE_MAX / wide, SIDE_MAX / high);
    const out = [Math.max(1, Math.round(wide * scale)), Math.max(1, Math.round(high * scale))];
    const outer = inert.createElement("div");
    outer.setAttribute("style", `position:relative;width:${wide}px;height:${high}px;overflow:hidden`);
    const sheet = inert.createElement("style");
    sheet.textContent = clean(rules.join("\n"));
    const moved = inert.createElement("div");
    moved.setAttribute("style", `position:absolute;left:${-scrollX}px;top:${-scrollY}px;width:${wide}px;height:${high}px`);
    moved.append(...copied);
    outer.append(sheet, behind, moved);
    const drawing =
      `<svg xmlns="${SVG}" width="${out[0]}" height="${out[1]}" viewBox="0 0 ${wide} ${high}">` +
      `<foreignObject x="0" y="0" width="${wide}" height="${high}">${new XMLSerializer().serializeToString(outer)}</foreignObject></svg>`;

    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
    await image.decode().catch(() => {
      throw new Untrue("this browser cannot draw the copy of the page");
    });
    const paint = document.createElement("canvas");
    [paint.width, paint.height] = out;
    const pen = paint.getContext("2d");
    // Fonts and images of the copy are loaded with its first drawing in some browsers.
    pen.drawImage(image, 0, 0, ...out);
    await new Promise((resolve) => setTimeout(resolve, 30));
    pen.drawImage(image, 0, 0, ...out);
    let data;
    try {
      data = paint.toDataURL(`image/${format}`, quality);
    } catch {
      throw new Untrue("this browser does not let a page read a drawing of itself");
    }
    const base64 = data.slice(data.indexOf(",") + 1);
    if (!data.startsWith(`data:image/${format};`) || base64 === "") throw new Untrue(`this browser makes no ${format}`);
    if (base64.length > BASE64_MAX) throw new Untrue("the picture is too large to send; ask for a smaller maxWidth, or jpeg");
    return JSON.stringify({ format, base64 });
  } catch (why) {
    if (why instanceof Untrue) return JSON.stringify({ refused: why.message });
    throw why;
  } finally {
    nursery.remove();
  }
}
