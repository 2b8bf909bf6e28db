# Sourced by build and boot.

# add_program ROOT SOURCE DESTINATION: copies a program into a guest's tree, with the libraries it loads at the
# paths where it looks for them.
add_program() {
  install -D -m 755 "$2" "$1/$3"
  { ldd "$2" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' \
    | while read -r library; do install -D -m 755 "$library" "$1/$library"; done
}
