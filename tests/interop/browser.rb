# frozen_string_literal: true

# Sidekiq Web without a server: requests pages as a browser does, and presses the buttons on them.

require "cgi"
require "rack/mock"
require "rack/utils"
require "sidekiq/web"

class Browser
  include Interop

  def initialize
    @web = Rack::MockRequest.new(Sidekiq::Web)
    @session = {}
  end

  # The page, which has to answer 200.
  def get(path)
    response = @web.get(path, "rack.session" => @session)
    assert_equal 200, response.status, "GET #{path}"
    response.body.dup.force_encoding("UTF-8")
  end

  def json(path) = JSON.parse(get(path))

  # Where the page leads to.
  def redirect(path)
    response = @web.get(path, "rack.session" => @session)
    assert_equal 302, response.status, "GET #{path}"
    URI(response["Location"]).path
  end

  # Presses the button called `name` in the form of a page that holds all of `texts`, and ticks the boxes whose value holds one.
  def press(path, name, *texts)
    form = get(path).scan(%r{<form.*?</form>}m).find { |found| [*texts, %(name="#{name}")].all? { |text| found.include?(text) } }
    assert form, "no form on #{path} with #{texts} has the button #{name}"
    target = form[/<form[^>]* action="([^"]*)"/, 1] || path
    fields = form.scan(/<(?:input|button)[^>]*>/).map { |tag| attributes(tag) }.select do |field|
      case field["type"]
      when "hidden" then true
      when "checkbox" then texts.any? { |text| field["value"]&.include?(text) }
      else field["name"] == name
      end
    end
    response = @web.post(target, "rack.session" => @session, params: query(fields))
    assert_equal 302, response.status, "POST #{target}"
  end

  private

  def attributes(tag) = tag.scan(/([\w-]+)=(["'])(.*?)\2/).to_h { |name, _, value| [name, CGI.unescapeHTML(value)] }

  def query(fields) = fields.map { |field| [field["name"], field["value"] || ""].map { |text| Rack::Utils.escape(text) }.join("=") }.join("&")
end
